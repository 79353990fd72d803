//! The README and the Dockerfile of a repository's last successful build.

use super::{Lease, LeaseLost, Store, StoreError, from_json, lease::hold, on, to_json};
use crate::domain::{
    documents::{Document, Documents},
    ids::{BuildId, RepositoryId},
};

/// Documents, and the build that they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryDocuments {
    pub build: BuildId,
    pub documents: Documents,
}

impl Store {
    /// Records the documents of a leased build that has succeeded, unless those of a build with a newer place in the
    /// order of pushes are there.
    pub async fn record_documents(
        &self,
        lease: &Lease,
        push_order: &str,
        documents: &Documents,
    ) -> Result<(), LeaseLost> {
        let readme = documents.readme.as_ref().map(to_json).transpose()?;
        let dockerfile = documents.dockerfile.as_ref().map(to_json).transpose()?;
        let mut tx = self.begin().await?;
        hold(&mut tx, lease).await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into repository_documents (repository_id, push_order, build_id, readme, dockerfile) \
                 select repository_id, $2, id, $3, $4 from builds where id = $1 \
                 on conflict (repository_id) do update set push_order = excluded.push_order, build_id = excluded.build_id, \
                 readme = excluded.readme, dockerfile = excluded.dockerfile \
                 where repository_documents.push_order <= excluded.push_order",
            )
            .bind(lease.build().as_str())
            .bind(push_order)
            .bind(readme.as_deref())
            .bind(dockerfile.as_deref())
            .execute(c)
            .await
            .map(drop)
        })
        .map_err(StoreError::from)?;
        Ok(tx.commit().await?)
    }

    /// The documents of a repository; `None` before its first successful build.
    pub async fn repository_documents(
        &self,
        repository: &RepositoryId,
    ) -> Result<Option<RepositoryDocuments>, StoreError> {
        let mut reader = self.reader().await?;
        let row: Option<(String, Option<String>, Option<String>)> = on!(reader.handle(), c => {
            sqlx::query_as("select build_id, readme, dockerfile from repository_documents where repository_id = $1")
                .bind(repository.as_str())
                .fetch_optional(c)
                .await
        })?;
        let Some((build, readme, dockerfile)) = row else {
            return Ok(None);
        };
        let parse = |text: Option<String>| -> Result<Option<Document>, StoreError> {
            text.map(|text| from_json("a document", &text)).transpose()
        };
        Ok(Some(RepositoryDocuments {
            build: build.into(),
            documents: Documents {
                readme: parse(readme)?,
                dockerfile: parse(dockerfile)?,
            },
        }))
    }
}
