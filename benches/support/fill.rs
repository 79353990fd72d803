//! A large database, made from one repository and one build of it: every column that is not named here is copied, so
//! that the rows are such as the service itself writes.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, Duration, Utc};
use hullworks::{
    clock::Clock,
    domain::ids::{BuildId, RepositoryId, RuleId},
};
use sqlx::{
    Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

pub const REPOSITORIES: usize = 10_000;
pub const BUILDS: usize = 100_000;

/// How many of the repositories belong to the person who looks at pages; the others to strangers.
const OWN: usize = 200;

/// Fills the database of a service that does not run.
pub async fn fill(database: &Path) {
    let mut connection = open(database).await;
    let mut tx = connection.begin().await.expect("the database");
    let repositories = repositories(&mut tx).await;
    builds(&mut tx, &repositories).await;
    tx.commit().await.expect("the database");
    close(connection).await;
}

/// Fills the database of a service that does not run with repositories that were each built once, on one of these images.
pub async fn fill_on_bases(database: &Path, images: &[String], digest: &str) {
    let mut connection = open(database).await;
    let mut tx = connection.begin().await.expect("the database");
    let repositories = repositories(&mut tx).await;
    for (n, repository) in repositories.iter().enumerate() {
        built_on(&mut tx, repository, &images[n % images.len()], digest, n).await;
    }
    tx.commit().await.expect("the database");
    close(connection).await;
}

async fn open(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(false);
    SqliteConnection::connect_with(&options).await.expect("the database")
}

async fn close(mut connection: SqliteConnection) {
    sqlx::raw_sql("analyze")
        .execute(&mut connection)
        .await
        .expect("the database");
    connection.close().await.expect("the database");
}

/// A rule, its successful build, the tag that this holds, and the image that it stood on.
async fn built_on(connection: &mut SqliteConnection, repository: &str, image: &str, digest: &str, n: usize) {
    let (rule, build) = (RuleId::new().to_string(), BuildId::new().to_string());
    let copied = [
        ("rules", BTreeMap::from([("id", "$1"), ("repository_id", "$2")])),
        (
            "builds",
            BTreeMap::from([
                ("id", "$3"),
                ("push_order", "$3"),
                ("rule_id", "$1"),
                ("repository_id", "$2"),
                ("number", "1"),
                ("status", "'succeeded'"),
                ("log_size", "0"),
                ("log_sealed", "true"),
            ]),
        ),
    ];
    for (table, changed) in copied {
        let insert = copy_of(
            table,
            &columns(connection, table).await,
            &changed,
            "order by id limit 1",
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(&rule)
            .bind(repository)
            .bind(&build);
        query.execute(&mut *connection).await.expect("the database");
    }
    sqlx::query("insert into published_tags (image, tag, newest_order, newest_build, repository_id) values ($1, 'latest', $2, $2, $3)")
        .bind(format!("r.example.com/team/service-{n}"))
        .bind(&build)
        .bind(repository)
        .execute(&mut *connection)
        .await
        .expect("the database");
    sqlx::query("insert into build_bases (build_id, image, digest, pinned) values ($1, $2, $3, false)")
        .bind(&build)
        .bind(image)
        .bind(digest)
        .execute(&mut *connection)
        .await
        .expect("the database");
}

async fn repositories(connection: &mut SqliteConnection) -> Vec<String> {
    let columns = columns(connection, "repositories").await;
    let changed = BTreeMap::from([
        ("id", "$1"),
        ("namespace", "$2"),
        ("name", "$3"),
        ("visibility", "$4"),
        ("description", "$5"),
        ("hook_id", "'hook-' || $1"),
        ("stars", "$6"),
    ]);
    let insert = copy_of("repositories", &columns, &changed, "limit 1");
    let mut made = Vec::with_capacity(REPOSITORIES);
    for n in 0..REPOSITORIES {
        let id = RepositoryId::new().to_string();
        let namespace = if n < OWN {
            "admin".to_owned()
        } else {
            format!("team-{}", n % 400)
        };
        sqlx::query(sqlx::AssertSqlSafe(insert.as_str()))
            .bind(&id)
            .bind(namespace)
            .bind(format!("service-{n}"))
            .bind(if n % 10 == 0 { "private" } else { "public" })
            .bind(format!("The service number {n}, which does what its name says"))
            .bind((n * 7919 % 500) as i64)
            .execute(&mut *connection)
            .await
            .expect("the database");
        made.push(id);
    }
    made
}

async fn builds(connection: &mut SqliteConnection, repositories: &[String]) {
    let columns = columns(connection, "builds").await;
    let changed = BTreeMap::from([
        ("id", "$1"),
        ("repository_id", "$2"),
        ("number", "$3"),
        ("status", "$4"),
        ("push_order", "$1"),
        ("source_name", "$5"),
        ("commit_message", "$6"),
        ("queued_at", "$7"),
        ("started_at", "$7"),
        ("finished_at", "$8"),
        ("log_size", "0"),
        ("log_sealed", "true"),
    ]);
    let insert = copy_of("builds", &columns, &changed, "order by id limit 1");
    let now: DateTime<Utc> = Clock::system().now();
    for n in 0..BUILDS {
        let queued_at = now - Duration::seconds((BUILDS - n) as i64 * 60);
        let status = match n % 20 {
            0 | 7 => "failed",
            13 => "canceled",
            _ => "succeeded",
        };
        sqlx::query(sqlx::AssertSqlSafe(insert.as_str()))
            .bind(BuildId::new().to_string())
            .bind(&repositories[n % repositories.len()])
            .bind((n / repositories.len() + 1) as i64)
            .bind(status)
            .bind(if n % 3 == 0 {
                "main".to_owned()
            } else {
                format!("feature/{n}")
            })
            .bind(format!("Change number {n}\n\nWith a body that says why."))
            .bind(queued_at)
            .bind(queued_at + Duration::seconds(40 + (n % 200) as i64))
            .execute(&mut *connection)
            .await
            .expect("the database");
    }
}

/// The statement that inserts a copy of a row, but for the columns that are `changed`.
fn copy_of(table: &str, columns: &[String], changed: &BTreeMap<&str, &str>, which: &str) -> String {
    let values: Vec<&str> = columns
        .iter()
        .map(|column| changed.get(column.as_str()).copied().unwrap_or(column))
        .collect();
    format!(
        "insert into {table} ({}) select {} from {table} {which}",
        columns.join(", "),
        values.join(", ")
    )
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    let rows = sqlx::query("select name from pragma_table_info($1)")
        .bind(table)
        .fetch_all(connection)
        .await;
    rows.expect("the database").iter().map(|row| row.get("name")).collect()
}
