//! Names and containers of ours: how they are known, and how they go away. What is not provably ours is never touched,
//! nor is what runs.

use std::collections::{HashMap, HashSet};

use bollard::{
    models::ContainerSummary,
    query_parameters::{
        ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
    },
};
use hyper::StatusCode;

use super::{BuiltImage, Engine, EngineError};
use crate::domain::image::ImageReference;

/// Label on containers that a build started; its value is the build's id.
pub const BUILD_LABEL: &str = "io.hullworks.build";

/// Images between their build and their push are tagged in this repository. `.invalid` is reserved (RFC 2606): no
/// registry can have the name, so that nobody else's images are called so and nothing can be pushed there.
const TEMPORARY_REPOSITORY: &str = "hullworks.invalid/build";

/// What [`Engine::sweep`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub containers: usize,
    pub names: usize,
}

/// The name that an image of a build bears until it is forgotten.
pub(super) fn temporary_name(build_id: &str) -> String {
    format!("{TEMPORARY_REPOSITORY}:{build_id}")
}

/// The build whose temporary name this is.
fn build_of_name(name: &str) -> Option<&str> {
    name.strip_prefix(TEMPORARY_REPOSITORY)?.strip_prefix(':')
}

impl Engine {
    /// Takes the temporary name off an image. One that bears no other name goes away; its cached layers stay.
    pub async fn forget(&self, image: &BuiltImage) -> Result<(), EngineError> {
        self.remove_name(&temporary_name(image.build_id())).await.map(drop)
    }

    /// Takes a name off whatever image bears it; that none does is no error.
    pub async fn untag(&self, name: &ImageReference) -> Result<(), EngineError> {
        self.remove_name(&name.to_string()).await.map(drop)
    }

    /// Ids of builds of which there are stopped containers with [`BUILD_LABEL`] or temporary names: of this installation
    /// or another's that uses the same engine, alive or not.
    pub async fn builds_with_traces(&self) -> Result<HashSet<String>, EngineError> {
        let containers = self.stopped_containers().await?;
        let by_label = containers
            .into_iter()
            .filter_map(|container| container.labels?.remove(BUILD_LABEL));
        let names = self.temporary_names().await?;
        let by_name = names.iter().filter_map(|name| Some(build_of_name(name)?.to_owned()));
        Ok(by_label.chain(by_name).collect())
    }

    /// Removes what builds have left: stopped containers with [`BUILD_LABEL`] and temporary names. `is_over` is asked with
    /// a build's id.
    pub async fn sweep(&self, is_over: impl Fn(&str) -> bool) -> Result<Swept, EngineError> {
        let mut swept = Swept::default();
        for container in self.stopped_containers().await? {
            let build = container.labels.as_ref().and_then(|labels| labels.get(BUILD_LABEL));
            let (Some(id), true) = (&container.id, build.is_some_and(|build| is_over(build))) else {
                continue;
            };
            // Without force: one that was started meanwhile stays.
            let with_volumes = RemoveContainerOptionsBuilder::new().v(true).build();
            match self
                .address
                .ask(|docker| async move { docker.remove_container(id, Some(with_volumes)).await })
                .await?
            {
                Ok(()) => swept.containers += 1,
                Err(refusal) if matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        for name in self.temporary_names().await? {
            if build_of_name(&name).is_some_and(&is_over) && self.remove_name(&name).await? {
                swept.names += 1;
            }
        }
        Ok(swept)
    }

    /// Tells whether there was such a name.
    async fn remove_name(&self, name: &str) -> Result<bool, EngineError> {
        let removed = self
            .address
            .ask(|docker| async move { docker.remove_image(name, None::<RemoveImageOptions>, None).await })
            .await?;
        match removed {
            Ok(_) => Ok(true),
            // Where it conflicts, a container uses the image under this very name: it goes with the container's end and
            // the next sweep.
            Err(refusal) if matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn stopped_containers(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = HashMap::from([
            ("label", vec![BUILD_LABEL]),
            ("status", vec!["created", "exited", "dead"]),
        ]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        Ok(self
            .address
            .ask(|docker| async move { docker.list_containers(Some(options)).await })
            .await??)
    }

    async fn temporary_names(&self) -> Result<HashSet<String>, EngineError> {
        let filters = HashMap::from([("reference", vec![TEMPORARY_REPOSITORY])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self
            .address
            .ask(|docker| async move { docker.list_images(Some(options)).await })
            .await??;
        Ok(images.into_iter().flat_map(|image| image.repo_tags).collect())
    }
}
