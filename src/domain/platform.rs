//! Platforms of images, spelled in one way: `linux/amd64`, `linux/arm64`, `linux/arm/v7`.

use std::collections::BTreeMap;

/// Longest part of a platform's name, in bytes.
const MAX_PART: usize = 32;

/// A platform (`os/architecture` or `os/architecture/variant`) in the spelling under which two that an engine takes for
/// the same are equal; the rules are containerd's `platforms.Normalize`. `None`: it is not a platform, or one that no engine
/// runs (`unknown/unknown`, under which builders store what they say about an image).
pub fn canonical_platform(platform: &str) -> Option<String> {
    let platform = platform.to_ascii_lowercase();
    let mut parts = platform.split('/');
    let (os, architecture) = (parts.next()?, parts.next()?);
    let variant = parts.next().unwrap_or_default();
    if parts.next().is_some() || !is_part(os) || !is_part(architecture) || !(variant.is_empty() || is_part(variant)) {
        return None;
    }
    if os == "unknown" || architecture == "unknown" {
        return None;
    }
    let os = if os == "macos" { "darwin" } else { os };
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armel", _) => ("arm", "v6"),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    Some(match variant {
        "" => format!("{os}/{architecture}"),
        variant => format!("{os}/{architecture}/{variant}"),
    })
}

/// Whether two versions of an image are the same on every one of these platforms; each is given as its digest by platform. What is not
/// known of any is taken for different.
pub fn is_same_on(platforms: &[String], before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> bool {
    let is_same = |platform: &String| before.contains_key(platform) && before.get(platform) == after.get(platform);
    !platforms.is_empty() && platforms.iter().all(is_same)
}

fn is_part(text: &str) -> bool {
    (1..=MAX_PART).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_that_an_engine_takes_for_the_same_are_spelled_alike() {
        let check = |platform: &str, expected: &str| {
            assert_eq!(canonical_platform(platform).as_deref(), Some(expected), "{platform}");
        };
        check("linux/amd64", "linux/amd64");
        check("linux/amd64/v1", "linux/amd64");
        check("linux/amd64/v3", "linux/amd64/v3");
        check("Linux/x86_64", "linux/amd64");
        check("linux/x86-64/v2", "linux/amd64/v2");
        check("linux/i386", "linux/386");
        check("linux/arm64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v9", "linux/arm64/v9");
        check("linux/arm", "linux/arm/v7");
        check("linux/arm/7", "linux/arm/v7");
        check("linux/arm/v6", "linux/arm/v6");
        check("linux/arm/6", "linux/arm/v6");
        check("linux/armhf", "linux/arm/v7");
        check("linux/armel", "linux/arm/v6");
        check("linux/riscv64", "linux/riscv64");
        check("linux/s390x/", "linux/s390x");
        check("macos/arm64", "darwin/arm64");
        check("windows/amd64", "windows/amd64");
    }

    #[test]
    fn versions_are_compared_on_the_platforms_that_count() {
        let version = |amd64: &str, arm64: &str| {
            BTreeMap::from([
                ("linux/amd64".to_owned(), amd64.to_owned()),
                ("linux/arm64".to_owned(), arm64.to_owned()),
            ])
        };
        let on = |platforms: &[&str]| platforms.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (before, after) = (version("a", "b"), version("a", "c"));
        assert!(is_same_on(&on(&["linux/amd64"]), &before, &after));
        assert!(!is_same_on(&on(&["linux/amd64", "linux/arm64"]), &before, &after));
        assert!(!is_same_on(&on(&["linux/386"]), &before, &after));
        assert!(!is_same_on(&[], &before, &after));
    }

    #[test]
    fn what_no_engine_runs_is_no_platform() {
        for bad in [
            "",
            "linux",
            "/amd64",
            "linux/",
            "linux//v7",
            "linux/arm/v7/x",
            "unknown/unknown",
            "linux/unknown",
            "li nux/amd64",
            "linux/amd64\n",
            &format!("linux/{}", "a".repeat(33)),
        ] {
            assert_eq!(canonical_platform(bad), None, "{bad:?}");
        }
    }
}
