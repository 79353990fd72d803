//! The README and the Dockerfile of a commit.

use super::*;
use crate::domain::documents::MAX_BYTES;

async fn documents(files: &[(&str, &[u8])], dockerfile: &str, context: &str) -> (Option<String>, Option<String>) {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    for (path, content) in files {
        tree.write(path, content);
    }
    let sha = tree.commit("test");
    let checkout = fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap();
    let found = checkout.documents(dockerfile, context).unwrap();
    let told = |document: Option<crate::domain::documents::Document>| {
        document.map(|document| format!("{}: {}", document.path, document.text))
    };
    (told(found.readme), told(found.dockerfile))
}

#[tokio::test]
async fn the_readme_beside_the_dockerfile_comes_before_the_one_at_the_root() {
    let files: &[(&str, &[u8])] = &[
        ("Dockerfile", b"FROM a"),
        ("readme.txt", b"text"),
        ("Readme.MD", b"root"),
        ("api/Dockerfile", b"FROM b"),
        ("api/README.md", b"api"),
        ("web/Dockerfile", b"FROM c"),
    ];
    for (dockerfile, context, readme, content) in [
        ("Dockerfile", "/", "Readme.MD: root", "Dockerfile: FROM a"),
        ("api", "", "api/README.md: api", "api/Dockerfile: FROM b"),
        ("web/Dockerfile", "/", "Readme.MD: root", "web/Dockerfile: FROM c"),
    ] {
        let found = documents(files, dockerfile, context).await;
        assert_eq!(
            (found.0.as_deref(), found.1.as_deref()),
            (Some(readme), Some(content)),
            "{dockerfile}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_no_file_is_left_out() {
    let found = documents(&[("README.md/inner", b"x"), ("x", b"")], "Dockerfile", "/").await;
    assert_eq!(found, (None, None));
}

#[tokio::test]
async fn long_documents_are_cut_and_huge_ones_left_out() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    tree.write("README.md", vec![b'x'; MAX_BYTES + 1]);
    tree.write("Dockerfile", vec![b'#'; 9 << 20]);
    let sha = tree.commit("test");
    let checkout = fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap();
    let found = checkout.documents("Dockerfile", "/").unwrap();
    let readme = found.readme.unwrap();
    assert!(readme.is_cut && readme.text.len() == MAX_BYTES);
    assert_eq!(found.dockerfile, None);
}
