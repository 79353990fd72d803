//! Names and containers of ours: how they are known, and how they go away. What is not provably ours is never touched,
//! nor is what runs.

use std::collections::HashSet;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    BuiltImage, Engine, EngineError,
    http::{query, request},
};
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
            .filter_map(|mut container| container.labels.remove(BUILD_LABEL));
        let names = self.temporary_names().await?;
        let by_name = names.iter().filter_map(|name| Some(build_of_name(name)?.to_owned()));
        Ok(by_label.chain(by_name).collect())
    }

    /// Removes what builds have left: stopped containers with [`BUILD_LABEL`] and temporary names. `is_over` is asked with
    /// a build's id.
    pub async fn sweep(&self, is_over: impl Fn(&str) -> bool) -> Result<Swept, EngineError> {
        let mut swept = Swept::default();
        for container in self.stopped_containers().await? {
            if container.labels.get(BUILD_LABEL).is_some_and(|build| is_over(build)) {
                // Without force: one that was started meanwhile stays.
                let path = format!("/containers/{}?v=1", container.id);
                let answer = self.address.call(request(Method::DELETE, &path)?).await?;
                match answer.status {
                    StatusCode::NOT_FOUND | StatusCode::CONFLICT => {}
                    _ => {
                        answer.success()?;
                        swept.containers += 1;
                    }
                }
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
        let answer = self
            .address
            .call(request(Method::DELETE, &format!("/images/{name}"))?)
            .await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            // A container uses the image under this very name: it goes with the container's end and the next sweep.
            StatusCode::CONFLICT => Ok(false),
            _ => answer.success().map(|_| true),
        }
    }

    async fn stopped_containers(&self) -> Result<Vec<Container>, EngineError> {
        let filters = json!({"label": [BUILD_LABEL], "status": ["created", "exited", "dead"]}).to_string();
        let path = query("/containers/json", [("all", "1"), ("filters", filters.as_str())]);
        self.address.call(request(Method::GET, &path)?).await?.success()?.json()
    }

    async fn temporary_names(&self) -> Result<HashSet<String>, EngineError> {
        #[derive(Deserialize)]
        struct Image {
            #[serde(rename = "RepoTags", default)]
            names: Option<Vec<String>>,
        }
        let filters = json!({"reference": [TEMPORARY_REPOSITORY]}).to_string();
        let path = query("/images/json", [("filters", filters.as_str())]);
        let images: Vec<Image> = self
            .address
            .call(request(Method::GET, &path)?)
            .await?
            .success()?
            .json()?;
        Ok(images
            .into_iter()
            .flat_map(|image| image.names.unwrap_or_default())
            .collect())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default)]
    labels: std::collections::HashMap<String, String>,
}
