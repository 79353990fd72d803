//! Which image an index has for each platform: what tells a new version for machines of another kind from one for ours.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::at_most::AtMost;
use super::manifest::{body_digest, contradiction, refuse_schema_1};
use super::{Registries, RegistryCredentials, RegistryError, http};
use crate::domain::image::{ImageReference, is_valid_digest};
use crate::domain::platform::canonical_platform;

/// Most images of one index. Those of Docker's official images have a few dozen.
const MAX_ENTRIES: usize = 1000;

/// An index or manifest list, as far as it is of use; a manifest of one image has no `manifests`.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: AtMost<Entry, MAX_ENTRIES>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Registries {
    /// The digest of an image for each platform (spelled as by [`canonical_platform`]) of the index with this digest,
    /// which is verified; empty where it is no index. Of several for one platform the first counts, as it does for engines.
    ///
    /// Fetches the index, which Docker Hub counts as a pull: only for a digest that was not seen before.
    pub async fn platforms(
        &self,
        image: &ImageReference,
        digest: &str,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<BTreeMap<String, String>, RegistryError> {
        let image = ImageReference {
            digest: Some(digest.to_owned()),
            ..image.clone()
        };
        let limit = self.shared.config.total_timeout;
        http::within(
            limit,
            &image.registry,
            self.fetch_platforms(&image, digest, credentials),
        )
        .await
    }

    async fn fetch_platforms(
        &self,
        image: &ImageReference,
        digest: &str,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<BTreeMap<String, String>, RegistryError> {
        let answer = self.ask_for_manifest(Method::GET, image, None, credentials).await?;
        if answer.status() != StatusCode::OK {
            return Err(http::failure(&image.registry, &image.to_string(), &answer));
        }
        refuse_schema_1(image, answer.headers())?;
        let mut body = Vec::new();
        let found = body_digest(image, answer, |chunk| body.extend_from_slice(chunk)).await?;
        if found != digest {
            return Err(contradiction(image));
        }
        read(&body).map_err(|why| RegistryError::Malformed(format!("{image} cannot be read: {why}")))
    }
}

fn read(body: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let index: Index = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut digests = BTreeMap::new();
    for Entry { digest, platform } in index.manifests.0 {
        let platform = platform.and_then(
            |Platform {
                 os,
                 architecture,
                 variant,
             }| { canonical_platform(&format!("{os}/{architecture}/{variant}")) },
        );
        let Some(platform) = platform else {
            continue;
        };
        if !is_valid_digest(&digest) {
            return Err(format!("what it states for {platform} is not a sha256 digest"));
        }
        digests.entry(platform).or_insert(digest);
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn entry(letter: char, platform: Value) -> Value {
        json!({ "mediaType": "x", "size": 1, "digest": digest(letter), "platform": platform })
    }

    #[test]
    fn each_platform_has_its_digest_and_attestations_have_none() {
        let index = json!({ "schemaVersion": 2, "manifests": [
            entry('a', json!({ "os": "linux", "architecture": "amd64" })),
            entry('b', json!({ "os": "linux", "architecture": "arm", "variant": "v7" })),
            entry('c', json!({ "os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1" })),
            entry('d', json!({ "os": "unknown", "architecture": "unknown" })),
            entry('e', json!(null)),
            entry('f', json!({ "os": "linux", "architecture": "amd64" })),
        ]});
        let expected = [("linux/amd64", 'a'), ("linux/arm/v7", 'b'), ("linux/arm64", 'c')];
        let expected = expected.map(|(platform, letter)| (platform.to_owned(), digest(letter)));
        assert_eq!(read(index.to_string().as_bytes()), Ok(BTreeMap::from(expected)));
    }

    #[test]
    fn the_manifest_of_one_image_has_no_platforms() {
        let manifest = json!({ "schemaVersion": 2, "config": {}, "layers": [] });
        assert_eq!(read(manifest.to_string().as_bytes()), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_is_no_index_or_too_large_a_one_is_refused() {
        let amd64 = json!({ "os": "linux", "architecture": "amd64" });
        let check = |body: String, expected: &str| {
            let why = read(body.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        check(String::new(), "EOF");
        check("[1]".to_owned(), "expected");
        check("[".repeat(1 << 20), "expected");
        check(json!({ "manifests": 1 }).to_string(), "at most 1000 entries");
        check(json!({ "manifests": [{ "platform": amd64 }] }).to_string(), "digest");
        check(
            json!({ "manifests": [{ "digest": "sha256:<b>", "platform": amd64 }] }).to_string(),
            "for linux/amd64 is not a sha256 digest",
        );
        let entries = vec![entry('a', amd64); MAX_ENTRIES + 1];
        check(json!({ "manifests": entries }).to_string(), "more than 1000 entries");
    }
}
