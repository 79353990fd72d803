use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{Called, hullworks, installed};

fn backup(data_dir: &Path, file: &Path) -> Called {
    hullworks(&["backup", file.to_str().unwrap()])
        .in_data_dir(data_dir)
        .run()
}

fn restore(file: &Path, data_dir: &Path) -> Called {
    hullworks(&["restore", file.to_str().unwrap()])
        .in_data_dir(data_dir)
        .run()
}

#[test]
fn a_backup_restores_users_key_and_logs() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second, file) = (
        directory.path().join("first"),
        directory.path().join("second/data"),
        directory.path().join("backup"),
    );
    installed(&first);
    fs::write(first.join("logs/0198c0ffee.zst"), "a log").unwrap();
    backup(&first, &file).done();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);

    restore(&file, &second).done();
    assert_eq!(
        fs::read(second.join("master.key")).unwrap(),
        fs::read(first.join("master.key")).unwrap()
    );
    assert_eq!(fs::read(second.join("logs/0198c0ffee.zst")).unwrap(), b"a log");
    assert_eq!(fs::metadata(&second).unwrap().permissions().mode() & 0o7777, 0o700);
    let users = hullworks(&["user", "list"]).in_data_dir(&second).run().done();
    assert!(users.contains("anna"), "{users}");
    let left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_newer_backup_takes_the_place_of_an_older_one() {
    let directory = tempfile::tempdir().unwrap();
    let (data_dir, file) = (directory.path().join("data"), directory.path().join("backup"));
    installed(&data_dir);
    backup(&data_dir, &file).done();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    backup(&data_dir, &file).done();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_directory_with_anything_in_it_is_not_restored_into() {
    let directory = tempfile::tempdir().unwrap();
    let (data_dir, file) = (directory.path().join("data"), directory.path().join("backup"));
    installed(&data_dir);
    backup(&data_dir, &file).done();
    let before = fs::read(data_dir.join("master.key")).unwrap();
    restore(&file, &data_dir).refused(1, &["not empty"]);
    assert_eq!(fs::read(data_dir.join("master.key")).unwrap(), before);

    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    restore(&file, &empty).done();
}

#[test]
fn a_damaged_backup_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (data_dir, file) = (directory.path().join("data"), directory.path().join("backup"));
    installed(&data_dir);
    backup(&data_dir, &file).done();
    let whole = fs::read(&file).unwrap();
    let target = directory.path().join("target");
    for bytes in [
        &whole[..whole.len() / 2],
        &whole[..whole.len() - 1],
        b"something else",
        b"",
    ] {
        fs::write(&file, bytes).unwrap();
        restore(&file, &target).refused(1, &["backup"]);
        assert!(!target.exists());
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn where_there_is_no_installation_there_is_nothing_to_back_up() {
    let directory = tempfile::tempdir().unwrap();
    let (data_dir, file) = (directory.path().join("data"), directory.path().join("backup"));
    backup(&data_dir, &file).refused(1, &["no installation"]);
    assert!(!data_dir.exists() && !file.exists());
}
