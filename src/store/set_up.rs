//! The first administrator: made once, by whoever reads the code that the service prints while there is none.

use super::{Store, StoreError, Tx, User, on};

/// The fact that holds the hash of the code that is good now.
const SET_UP_CODE: &str = "set-up code";

/// What became of an attempt to make the first administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetUp {
    Done,
    WrongCode,
    /// There is an administrator already.
    Over,
    /// Somebody who is no administrator has the name.
    NameTaken,
}

impl Store {
    /// Whether there is no administrator yet.
    pub async fn needs_set_up(&self) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let admins: i64 = on!(reader.handle(), c => {
            sqlx::query_scalar("select count(*) from users where is_admin").fetch_one(c).await
        })?;
        Ok(admins == 0)
    }

    /// Makes a code good, and every earlier one void; `false`, and none is good, where there is an administrator.
    pub async fn offer_set_up(&self, code_hash: &[u8]) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        forget_code(&mut tx, None).await?;
        let offered = on!(tx.handle(), c => {
            sqlx::query(
                "insert into installation (name, value) select $1, $2 \
                 where not exists (select 1 from users where is_admin)",
            )
            .bind(SET_UP_CODE)
            .bind(code_hash)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(offered == 1)
    }

    /// Makes the first administrator and ends the code. Of two who try at once, one does.
    pub async fn set_up(&self, code_hash: &[u8], user: &User, password_hash: &str) -> Result<SetUp, StoreError> {
        let mut tx = self.begin().await?;
        // Whoever takes the code away has used it; left undone below, it stays.
        let is_right = forget_code(&mut tx, Some(code_hash)).await?;
        let admins: i64 = on!(tx.handle(), c => {
            sqlx::query_scalar("select count(*) from users where is_admin").fetch_one(c).await
        })?;
        if admins > 0 {
            return Ok(SetUp::Over);
        }
        if !is_right {
            return Ok(SetUp::WrongCode);
        }
        if !super::users::insert_user(&mut tx, user, password_hash).await? {
            return Ok(SetUp::NameTaken);
        }
        tx.commit().await?;
        Ok(SetUp::Done)
    }
}

/// Takes the code away, whichever it is or this one; answers whether there was one.
async fn forget_code(tx: &mut Tx, hash: Option<&[u8]>) -> Result<bool, StoreError> {
    let gone = on!(tx.handle(), c => {
        sqlx::query("delete from installation where name = $1 and ($2 is null or value = $2)")
            .bind(SET_UP_CODE)
            .bind(hash)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(gone == 1)
}
