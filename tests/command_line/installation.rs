use crate::{hullworks, installed};

#[test]
fn a_user_is_added_to_a_new_installation_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("new/data");
    installed(&data_dir);
    hullworks(&["user", "add", "ben", "--password-stdin"])
        .in_data_dir(&data_dir)
        .input("another one")
        .run()
        .done();
    let text = hullworks(&["user", "list"]).in_data_dir(&data_dir).run().done();
    assert!(
        text.contains("anna") && text.contains("admin") && text.lines().count() == 2,
        "{text}"
    );
    let json = hullworks(&["user", "list", "--json"])
        .in_data_dir(&data_dir)
        .run()
        .done();
    let users: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&users["items"][0]["name"], &users["items"][0]["is_admin"]),
        (&"anna".into(), &true.into())
    );
    assert_eq!(
        (&users["items"][1]["name"], &users["items"][1]["is_admin"]),
        (&"ben".into(), &false.into())
    );
    assert!(!json.contains("hash"), "{json}");
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    installed(directory.path());
    let again = hullworks(&["user", "add", "anna", "--password-stdin"]).in_data_dir(directory.path());
    again.input("correct horse").run().refused(1, &["anna", "already"]);
}

#[test]
fn an_unfit_password_is_refused_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    for password in ["short\n", "", "two\nlines of it\n"] {
        let add = hullworks(&["user", "add", "anna", "--password-stdin"]).in_data_dir(&data_dir);
        add.input(password).run().refused(1, &["password"]);
    }
    assert!(!data_dir.exists());
}

#[test]
fn a_password_is_replaced_for_a_user_that_there_is() {
    let directory = tempfile::tempdir().unwrap();
    installed(directory.path());
    let passwd = |name: &str| {
        let call = hullworks(&["user", "passwd", name, "--password-stdin"]).in_data_dir(directory.path());
        call.input("battery staple").run()
    };
    passwd("anna").done();
    passwd("nobody").refused(1, &["nobody"]);
}

#[test]
fn a_token_is_printed_alone_and_each_is_another() {
    let directory = tempfile::tempdir().unwrap();
    installed(directory.path());
    let create = || {
        let call = hullworks(&["token", "create", "--user", "anna", "--name", "ci", "--expires", "90d"]);
        call.in_data_dir(directory.path()).run().done()
    };
    let (one, other) = (create(), create());
    assert!(
        one.starts_with("hwt_") && one.ends_with('\n') && one.lines().count() == 1,
        "{one:?}"
    );
    assert_ne!(one, other);
    let database = std::fs::read(directory.path().join("hullworks.db")).unwrap();
    assert!(
        !database
            .windows(one.trim().len())
            .any(|window| window == one.trim().as_bytes())
    );
    let nobody = hullworks(&["token", "create", "--user", "nobody"]).in_data_dir(directory.path());
    nobody.run().refused(1, &["nobody"]);
    let scoped = |scope: &str| {
        hullworks(&["token", "create", "--user", "anna", "--scope", scope])
            .in_data_dir(directory.path())
            .run()
    };
    assert!(scoped("read").done().starts_with("hwt_"));
    scoped("owner").refused(2, &["read, write or admin"]);
}

#[test]
fn another_key_than_the_installations_own_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    installed(directory.path());
    let key = directory.path().join("master.key");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    hullworks(&["user", "list"])
        .in_data_dir(directory.path())
        .run()
        .refused(1, &["master.key"]);
    std::fs::remove_file(&key).unwrap();
    hullworks(&["user", "list"])
        .in_data_dir(directory.path())
        .run()
        .refused(1, &["master.key"]);
    assert!(
        !key.exists(),
        "a new key would make the sealed secrets unreadable for good"
    );
}
