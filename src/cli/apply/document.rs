//! The file that `apply` reads and `export` writes.
//!
//! Every field has its type here, so that YAML's guesses about unquoted words do not reach it: `docker_tag: 1.20` is the
//! text `1.20`. Nothing unknown is taken; what the API only reports is taken and left out again.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, Visitor},
    forward_to_deserialize_any,
};

use crate::domain::schedule::Schedule;

/// The whole file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub repositories: Vec<Repository>,
    pub registries: Vec<Registry>,
}

/// A repository's document as the API takes it, with `namespace/name` as its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub source: Source,
    #[serde(default)]
    pub rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_base_images: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_base_images: Vec<String>,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Values for `RUN --mount=type=secret`; null keeps a stored one, names left out go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_secrets: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, skip_serializing, rename = "build_secrets_set")]
    _build_secrets_set: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "webhook")]
    _webhook: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "created_at")]
    _created_at: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "updated_at")]
    _updated_at: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "stars")]
    _stars: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "pulls")]
    _pulls: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "last_build")]
    _last_build: Option<IgnoredAny>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub provider: String,
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submodules: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    #[serde(default, skip_serializing, rename = "credentials_set")]
    _credentials_set: Option<IgnoredAny>,
}

/// How a source is fetched from: a user name and a password, or a key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<String>,
}

/// What builds may use; left out: what the server allows.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub source_type: String,
    pub source: String,
    pub docker_tag: String,
    #[serde(default = "default_dockerfile")]
    pub dockerfile: String,
    #[serde(default = "default_context")]
    pub context: String,
    #[serde(default = "yes")]
    pub autobuild: bool,
    #[serde(default = "yes")]
    pub cache: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub build_args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    #[serde(default, skip_serializing, rename = "id")]
    _id: Option<IgnoredAny>,
}

/// Credentials for a registry; without a namespace they are the whole server's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub host: String,
    pub username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_realms: Vec<String>,
    #[serde(default, skip_serializing, rename = "password_set")]
    _password_set: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "webhook")]
    _webhook: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "created_at")]
    _created_at: Option<IgnoredAny>,
    #[serde(default, skip_serializing, rename = "updated_at")]
    _updated_at: Option<IgnoredAny>,
}

fn default_dockerfile() -> String {
    "Dockerfile".to_owned()
}

fn default_context() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

/// The fields that one of the structs above takes, as it says itself: a list of its own would lag behind.
pub fn fields_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It is only asked for its fields, and so never made.
    let _ = T::deserialize(FieldProbe(&mut fields));
    fields
}

/// Has nothing to deserialize, but learns what was wanted.
struct FieldProbe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldProbe<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("there is nothing here"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Reads a file's text.
pub fn parse(text: &str) -> Result<File, String> {
    // A file of comments alone is one without entries.
    // Without a piece of the file: there may be a secret in it.
    let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?;
    Ok(file.unwrap_or_default())
}

/// The file's text.
pub fn render(file: &File) -> Result<String, String> {
    serde_saphyr::to_string(file).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
repositories:
  - name: team/app
    source: { provider: github, url: https://github.com/acme/app.git }
    rules:
      - { source_type: tag, source: '/^v(.*)$/', docker_tag: 1.20, build_args: { VERSION: 3.10, DEBUG: no } }
registries:
  - { host: registry.example.com, username: robot, password: '${ROBOT}' }
";

    #[test]
    fn words_stay_as_they_were_written() {
        let file = parse(TEXT).unwrap();
        let rule = &file.repositories[0].rules[0];
        assert_eq!(rule.docker_tag, "1.20");
        assert_eq!(
            (rule.build_args["VERSION"].as_str(), rule.build_args["DEBUG"].as_str()),
            ("3.10", "no")
        );
        assert_eq!(
            (rule.dockerfile.as_str(), rule.context.as_str(), rule.autobuild),
            ("Dockerfile", "/", true)
        );
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut file = parse(TEXT).unwrap();
        file.repositories[0].description = Some("a: b # c\n\"quoted\" ✓\n- x".to_owned());
        let text = render(&file).unwrap();
        let again = parse(&text).unwrap();
        assert_eq!(serde_json::json!(again), serde_json::json!(file), "{text}");
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_by_name() {
        let check = |text: &str, name: &str| {
            let message = parse(text).unwrap_err();
            assert!(message.contains(name), "{message}");
        };
        check("repositores: []", "repositores");
        check(&TEXT.replace("docker_tag", "dockertag"), "dockertag");
        check(&TEXT.replace("provider", "povider"), "povider");
        check(&TEXT.replace("username", "user"), "user");
    }

    #[test]
    fn a_fault_is_told_by_its_place_and_without_the_secrets_around_it() {
        let message = parse(
            &TEXT
                .replace("username: robot", "usrname: robot")
                .replace("${ROBOT}", "canary"),
        )
        .unwrap_err();
        assert!(message.contains("usrname") && message.contains("line 8"), "{message}");
        assert!(!message.contains("canary") && message.lines().count() == 1, "{message}");
    }

    #[test]
    fn a_document_as_the_api_reports_it_is_taken() {
        let text = TEXT.replace(
            "    rules:\n      - {",
            "    stars: 3\n    webhook: {url: x, secret_set: true}\n    rules:\n      - { id: 7,",
        );
        assert_eq!(
            serde_json::json!(parse(&text).unwrap()),
            serde_json::json!(parse(TEXT).unwrap())
        );
    }

    #[test]
    fn a_struct_names_its_fields() {
        let fields = fields_of::<Registry>();
        assert!(
            fields.contains(&"host") && fields.contains(&"password_set"),
            "{fields:?}"
        );
        assert!(fields_of::<Rule>().contains(&"target"));
    }

    #[test]
    fn an_empty_file_has_no_entries_and_a_bomb_is_refused() {
        assert!(parse("").unwrap().repositories.is_empty());
        assert!(parse("# nothing yet\n").unwrap().registries.is_empty());
        assert!(parse(&format!("repositories: {}", "[".repeat(100_000))).is_err());
    }
}
