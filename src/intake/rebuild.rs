//! Rebuilds that follow from base images: the same commit again, on what its bases stand for now.

use std::collections::BTreeMap;

use super::{Intake, IntakeError};
use crate::{
    domain::{build::Cause, ids::BuildId, repository::Repository},
    store::{Accepted, Build, BuildRequest, NewDelivery},
};

/// One rebuild.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// The new build's, chosen by the caller so that asking twice leads to one build.
    pub id: BuildId,
    pub cause: Cause,
    /// The exact images to build on, by full name with tag.
    pub base_digests: BTreeMap<String, String>,
}

impl Intake {
    /// Builds what a build built once more, by its rule as that is now and at the old place in the order of pushes: it never
    /// takes a tag from a newer push.
    pub async fn rebuild(
        &self,
        repository: &Repository,
        last: &Build,
        rebuild: Rebuild,
    ) -> Result<Accepted, IntakeError> {
        let mut plan = self.current_plan(repository, last)?;
        plan.base_digests = rebuild.base_digests;
        let request = BuildRequest {
            id: rebuild.id,
            rule_id: last.rule_id.clone(),
            source_type: last.source_type,
            source_name: last.source_name.clone(),
            commit: last.commit.clone(),
            commit_message: last.commit_message.clone(),
            cause: rebuild.cause,
            plan,
            push_order: Some(last.push_order.clone()),
            unless_under_way: true,
            before: None,
        };
        self.record(NewDelivery {
            provider: "registry".to_owned(),
            source_name: Some(last.source_name.clone()),
            commit: last.commit.clone(),
            requests: vec![request],
            ..self.click(repository, "base_image")
        })
        .await
    }
}
