//! What stands above every page of a repository: its name, what one can do with it, and the tabs.

use super::viewer::Viewer;
use crate::{
    domain::{
        access::Role,
        repository::{Repository, Visibility},
    },
    web::{Web, problem::Problem},
};

/// The pages of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Builds,
    Tags,
    BaseImages,
    Deliveries,
    Settings,
}

/// One tab.
pub struct TabLink {
    pub href: String,
    pub label: &'static str,
    pub is_current: bool,
}

/// The fields of `repository_head.html`; templates hold it as `head`.
pub struct RepositoryHead {
    pub namespace: String,
    pub name: String,
    /// `/r/NAMESPACE/NAME`
    pub path: String,
    pub description: String,
    pub is_private: bool,
    pub stars: u64,
    pub pulls: u64,
    pub is_starred: bool,
    /// Whether the viewer may start builds.
    pub may_trigger: bool,
    pub tabs: Vec<TabLink>,
}

impl RepositoryHead {
    pub async fn new(web: &Web, viewer: &Viewer, repository: &Repository, current: Tab) -> Result<Self, Problem> {
        let namespace = repository.name.namespace();
        let may_write = viewer.caller.has_role(namespace, Role::Write);
        let may_edit = viewer.caller.has_role(namespace, Role::Admin);
        let is_starred = match viewer.user() {
            Ok(user) => web.store.has_starred(&user.id, &repository.id).await?,
            Err(_) => false,
        };
        let path = path_of(repository);
        let tabs = [
            (Tab::Overview, "", "Overview", true),
            (Tab::Builds, "/builds", "Builds", true),
            (Tab::Tags, "/tags", "Tags", true),
            (Tab::BaseImages, "/bases", "Base images", true),
            (Tab::Deliveries, "/deliveries", "Deliveries", may_write),
            (Tab::Settings, "/settings", "Settings", may_edit),
        ];
        let tabs = tabs.into_iter().filter(|(.., is_shown)| *is_shown);
        Ok(Self {
            namespace: namespace.to_owned(),
            name: repository.name.name().to_owned(),
            description: repository.description.clone(),
            is_private: repository.visibility == Visibility::Private,
            stars: repository.stars,
            pulls: repository.pulls,
            is_starred,
            may_trigger: may_write,
            tabs: tabs
                .map(|(tab, below, label, _)| TabLink {
                    href: format!("{path}{below}"),
                    label,
                    is_current: tab == current,
                })
                .collect(),
            path,
        })
    }

    /// The stream that tells when something of the repository changed.
    pub fn live(&self) -> String {
        format!("/live/repositories/{}/{}", self.namespace, self.name)
    }
}

/// The address of a repository's page.
pub fn path_of(repository: &Repository) -> String {
    format!("/r/{}", repository.name)
}
