//! The variables that say where an image is built and for what, known to every `FROM` without being declared.

use super::{super::platform::canonical_platform, Arguments, expand::Variables};

/// The predefined variables. A build argument of the same name wins.
pub(super) fn variables(arguments: &Arguments<'_>) -> Variables {
    let mut variables = Variables::new();
    for (prefix, platform) in [
        ("BUILD", arguments.build_platform),
        ("TARGET", arguments.target_platform),
    ] {
        let [os, arch, variant] = parts(platform);
        let full = [&os, &arch, &variant].into_iter().filter(|part| !part.is_empty());
        let full = full.map(String::as_str).collect::<Vec<_>>().join("/");
        let values = [
            ("PLATFORM", full),
            ("OS", os),
            ("OSVERSION", String::new()),
            ("ARCH", arch),
            ("VARIANT", variant),
        ];
        variables.extend(values.map(|(name, value)| (format!("{prefix}{name}"), value)));
    }
    let stage = arguments.target.unwrap_or("default").to_owned();
    variables.insert("TARGETSTAGE".to_owned(), stage);
    for (name, value) in &mut variables {
        if let Some(given) = arguments.build_args.get(name) {
            value.clone_from(given);
        }
    }
    variables
}

/// Operating system, architecture and variant, under the names that builders give them.
fn parts(platform: &str) -> [String; 3] {
    let platform = canonical_platform(platform).unwrap_or_default();
    let mut parts = platform.splitn(3, '/').map(str::to_owned);
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_named_as_builders_name_them() {
        let check = |platform: &str, expected: [&str; 3]| assert_eq!(parts(platform), expected, "{platform}");
        check("linux/amd64", ["linux", "amd64", ""]);
        check("linux/x86_64", ["linux", "amd64", ""]);
        check("linux/arm64/v8", ["linux", "arm64", ""]);
        check("linux/arm/v6", ["linux", "arm", "v6"]);
        check("linux/arm", ["linux", "arm", "v7"]);
        check("", ["", "", ""]);
    }
}
