use crate::hullworks;

#[test]
fn help_is_printed_for_the_program_and_every_command() {
    let help = hullworks(&["--help"]).run().done();
    for command in [
        "serve", "worker", "user", "token", "apply", "export", "trigger", "builds", "logs", "cancel", "retry",
        "backup", "restore",
    ] {
        assert!(help.contains(command), "{command}");
        let own = hullworks(&[command, "--help"]).run().done();
        assert!(own.contains("Usage: hullworks"), "{own}");
    }
    assert!(help.contains("HULLWORKS_TOKEN") && help.contains("Exit codes"));
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["no-such-command"][..],
        &["serve", "--no-such-flag"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--concurrency", "many"],
        &["user", "add", "Anna", "--password-stdin"],
        &["user", "add", "anna"],
        &["token", "create", "--user", "anna", "--expires", "soon"],
        &["trigger", "app"],
        &["trigger", "team/app", "--branch", "a", "--tag", "b"],
        &["logs", "../x"],
        &["builds", "--status", "done"],
    ] {
        hullworks(arguments).run().refused(2, &["error"]);
    }
    assert_eq!(hullworks(&[]).run().code, Some(2));
}

#[test]
fn an_unknown_key_in_a_file_is_refused_by_file_and_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hullworks.toml");
    std::fs::write(&file, "concurency = 2").unwrap();
    let path = file.to_str().unwrap();
    hullworks(&["user", "list"])
        .env("HULLWORKS_CONFIG", path)
        .run()
        .refused(2, &["concurency", path]);
    hullworks(&["serve"])
        .in_data_dir(directory.path())
        .run()
        .refused(2, &["concurency", path]);
}

#[test]
fn values_that_cannot_work_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, value: &str, word: &str| {
        let call = hullworks(&["serve"]).in_data_dir(directory.path()).env(name, value);
        call.run().refused(2, &[word]);
    };
    check("HULLWORKS_DATABASE_URL", "mysql://x", "database_url");
    check("HULLWORKS_BASE_IMAGES_POLL_SECONDS", "0", "base_images.poll_seconds");
    check("HULLWORKS_ALLOW_LOCAL_SOURCES", "perhaps", "--allow-local-sources");
    check("HULLWORKS_LOG", "hullworks=loud", "log");
}

#[test]
fn a_worker_without_postgresql_is_refused_saying_why() {
    let directory = tempfile::tempdir().unwrap();
    hullworks(&["worker"])
        .in_data_dir(directory.path())
        .run()
        .refused(2, &["postgres://"]);
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let called = hullworks(&["serve"]).in_data_dir(&file.join("below")).run();
    assert_eq!(
        called.stderr.lines().filter(|line| line.starts_with("error")).count(),
        1,
        "{}",
        called.stderr
    );
    called.refused(1, &["file/below"]);
}

#[test]
fn a_misspelled_variable_is_warned_about_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    // It cannot start, and so ends by itself.
    let call = hullworks(&["serve"])
        .in_data_dir(&file.join("below"))
        .env("HULLWORKS_CONCURENCY", "2");
    call.env("HULLWORKS_URL", "http://x")
        .run()
        .refused(1, &["HULLWORKS_CONCURENCY is not known"]);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    crate::installed(directory.path());
    let code = hullworks(&["user", "list", "--json"])
        .in_data_dir(directory.path())
        .into_closed_pipe();
    assert_eq!(code, Some(0));
}
