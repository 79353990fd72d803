//! The files under examples/ are what the service takes.

use std::path::PathBuf;

use hullworks::config::Settings;

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The example with every setting that is commented out brought in.
fn complete(text: &str) -> String {
    let is_setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_configuration_is_the_defaults() {
    let path = example("hullworks.toml");
    let written = Settings::from_file(&path)
        .expect("settings")
        .load(Some(&path))
        .expect("a configuration");
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let default = Settings::default().load(Some(empty.path())).expect("a configuration");
    assert_eq!(format!("{written:?}"), format!("{default:?}"));
}

#[test]
fn the_example_configuration_names_every_setting() {
    let text = std::fs::read_to_string(example("hullworks.toml")).expect("the example");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), complete(&text)).expect("a file");
    let mut settings = Settings::from_file(file.path()).expect("settings");
    // The derived form shows every field by name, so a new one cannot be forgotten here; a URL has empty parts of its own.
    assert!(settings.public_url.take().is_some());
    let shown = format!("{settings:?}");
    assert_eq!(
        shown.matches(": None").count(),
        1,
        "not in the example, beside public_url: {shown}"
    );
}
