//! Waves as lists show them: only those in which something is built again that the reader may see.

use super::{
    Sight, Store, StoreError, Wave, WaveItem, known, on,
    waves::{self, ItemCount, ItemRow, WaveRow, select_items, select_waves},
};
use crate::domain::{ids::WaveId, wave::ItemState};

impl Store {
    /// Waves, the newest first: those of whose items the reader may see one, and the one that settles and has none yet, if
    /// `with_settling` says so. `before`: only those older than this one.
    pub async fn waves_seen(
        &self,
        (sight, with_settling): (&Sight, bool),
        before: Option<&WaveId>,
        limit: u32,
    ) -> Result<Vec<Wave>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<WaveRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_waves!(
                "where id < $3 and ($1 or (state = 'settling' and $5) or exists (select 1 from wave_items i \
                 join repositories r on r.id = i.repository_id where i.wave_id = waves.id \
                 and (r.visibility = 'public' \
                 or r.namespace in (select namespace from readable_namespaces where user_id = $2)))) \
                 order by id desc limit $4"
            ))
            .bind(sight.is_everything())
            .bind(sight.user())
            .bind(before.map_or(super::AFTER_EVERY_ID, WaveId::as_str))
            .bind(i64::from(limit))
            .bind(with_settling)
            .fetch_all(c)
            .await
        })?;
        waves::complete(reader.handle(), rows).await
    }

    /// What the reader may see of what a wave rebuilds, in the order of building.
    pub async fn wave_items_seen(&self, wave: &WaveId, sight: &Sight) -> Result<Vec<WaveItem>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<ItemRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_items!(
                "where i.wave_id = $3 and ($1 or r.visibility = 'public' \
                 or r.namespace in (select namespace from readable_namespaces where user_id = $2)) \
                 order by i.position, i.id"
            ))
            .bind(sight.is_everything())
            .bind(sight.user())
            .bind(wave.as_str())
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(WaveItem::try_from).collect()
    }

    /// How many items that the reader may see are in which state, of each of these waves.
    pub async fn count_wave_items_seen(&self, waves: &[Wave], sight: &Sight) -> Result<Vec<ItemCount>, StoreError> {
        let mut counts = Vec::new();
        let mut reader = self.reader().await?;
        for wave in waves {
            let rows: Vec<(String, i64)> = on!(reader.handle(), c => {
                sqlx::query_as(
                    "select i.state, count(*) from wave_items i join repositories r on r.id = i.repository_id \
                     where i.wave_id = $3 and ($1 or r.visibility = 'public' \
                     or r.namespace in (select namespace from readable_namespaces where user_id = $2)) \
                     group by i.state order by i.state",
                )
                .bind(sight.is_everything())
                .bind(sight.user())
                .bind(wave.id.as_str())
                .fetch_all(c)
                .await
            })?;
            for (state, count) in rows {
                counts.push(ItemCount {
                    wave: wave.id.clone(),
                    state: known("state of an item", &state, ItemState::parse)?,
                    count,
                });
            }
        }
        Ok(counts)
    }
}
