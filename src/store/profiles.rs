//! What people say of themselves, and what they chose.

use super::{Store, StoreError, known, on};
use crate::domain::{ids::UserId, repository::Visibility};

/// What a person says of themselves; all of it may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    pub full_name: String,
    pub about: String,
    /// Where mail is sent; shown to its owner and to administrators alone.
    pub email: String,
    pub website: String,
}

#[derive(sqlx::FromRow)]
struct ProfileRow {
    full_name: String,
    about: String,
    email: String,
    website: String,
}

impl Store {
    /// `None` if there is no such person.
    pub async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, ProfileRow>("select full_name, about, email, website from users where id = $1")
                .bind(user.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(row.map(|row| Profile {
            full_name: row.full_name,
            about: row.about,
            email: row.email,
            website: row.website,
        }))
    }

    pub async fn set_profile(&self, user: &UserId, profile: &Profile) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update users set full_name = $2, about = $3, email = $4, website = $5 where id = $1")
                .bind(user.as_str())
                .bind(&profile.full_name)
                .bind(&profile.about)
                .bind(&profile.email)
                .bind(&profile.website)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// Which visibility a new repository in the person's own namespace has, unless it says so itself.
    pub async fn default_visibility(&self, user: &UserId) -> Result<Option<Visibility>, StoreError> {
        let mut reader = self.reader().await?;
        let text: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar("select default_visibility from users where id = $1")
                .bind(user.as_str())
                .fetch_optional(c)
                .await
        })?;
        text.map(|text| known("visibility", &text, Visibility::parse))
            .transpose()
    }

    pub async fn set_default_visibility(&self, user: &UserId, visibility: Visibility) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update users set default_visibility = $2 where id = $1")
                .bind(user.as_str())
                .bind(visibility.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }
}
