//! Repositories made with the real `git`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub(super) const COMMITTED_AT: i64 = 1_700_000_000;

/// A work tree with its repository, on branch `main`.
pub(super) struct WorkTree {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl WorkTree {
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self::init(directory.path().to_owned(), Some(directory))
    }

    /// One in a directory that somebody else removes.
    pub(super) fn within(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        std::fs::create_dir(&path).unwrap();
        Self::init(path, None)
    }

    fn init(path: PathBuf, directory: Option<TempDir>) -> Self {
        let tree = Self {
            path,
            _directory: directory,
        };
        tree.git(&["init", "-q", "-b", "main"]);
        tree
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Runs git and gives back what it wrote.
    pub(super) fn git(&self, args: &[&str]) -> String {
        let output = self.output(args, b"");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Like [`WorkTree::git`], with standard input.
    pub(super) fn pipe(&self, args: &[&str], input: &[u8]) -> String {
        let output = self.output(args, input);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(super) fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.path().join(std::ffi::OsStr::from_bytes(path.as_ref()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Commits everything in the work tree; gives back the commit's sha.
    pub(super) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Records another repository's commit at a path, and its address in `.gitmodules`; to be committed.
    pub(super) fn submodule(&self, path: &str, url: &str, commit: &str) {
        let modules = self.path().join(".gitmodules");
        let mut text = std::fs::read_to_string(&modules).unwrap_or_default();
        text.push_str(&format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"));
        std::fs::write(modules, text).unwrap();
        self.record(path, commit);
    }

    /// Like [`WorkTree::submodule`], without the address.
    pub(super) fn record(&self, path: &str, commit: &str) {
        std::fs::create_dir_all(self.path().join(path)).unwrap();
        self.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{commit},{path}"),
        ]);
    }

    /// Commits a tree made by hand, out of lines like those of `git ls-tree`.
    pub(super) fn commit_tree(&self, lines: &str) -> String {
        let tree = self.pipe(&["mktree", "--missing"], lines.as_bytes());
        let sha = self.commit_of(&tree);
        self.git(&["update-ref", "refs/heads/main", &sha]);
        sha
    }

    /// Commits a tree that git itself would not make, out of modes, names and shas.
    pub(super) fn commit_raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let sha = self.commit_of(&self.raw_tree(entries));
        self.git(&["update-ref", "refs/heads/main", &sha]);
        sha
    }

    pub(super) fn raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut raw = Vec::new();
        for (mode, name, sha) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(&hex::decode(sha).unwrap());
        }
        self.pipe(&["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &raw)
    }

    fn commit_of(&self, tree: &str) -> String {
        self.git(&["commit-tree", "-m", "by hand", tree])
    }

    pub(super) fn blob(&self, content: &[u8]) -> String {
        self.pipe(&["hash-object", "-w", "--stdin"], content)
    }

    fn output(&self, args: &[&str], input: &[u8]) -> Output {
        let date = format!("{COMMITTED_AT} +0000");
        let mut child = Command::new("git")
            .args(args)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.com")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.com")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}
