//! Settings of the whole server that are changed while it runs.

use super::{Store, StoreError, known, on};

/// Who may make organisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrganisationMakers {
    #[default]
    Everybody,
    Administrators,
}

impl OrganisationMakers {
    const NAME: &str = "organisation makers";

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Administrators => "administrators",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Everybody, Self::Administrators]
            .into_iter()
            .find(|makers| makers.as_str() == text)
    }
}

impl Store {
    pub async fn organisation_makers(&self) -> Result<OrganisationMakers, StoreError> {
        let mut reader = self.reader().await?;
        let value: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar("select value from instance_settings where name = $1")
                .bind(OrganisationMakers::NAME)
                .fetch_optional(c)
                .await
        })?;
        match value {
            None => Ok(OrganisationMakers::default()),
            Some(value) => known("organisation makers", &value, OrganisationMakers::parse),
        }
    }

    pub async fn set_organisation_makers(&self, makers: OrganisationMakers) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into instance_settings (name, value) values ($1, $2) on conflict (name) do update set value = $2",
            )
            .bind(OrganisationMakers::NAME)
            .bind(makers.as_str())
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }
}
