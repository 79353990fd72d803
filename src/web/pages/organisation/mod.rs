//! The pages of an organisation, one file per page. Everybody may know that it is there and see its public repositories; its
//! members are seen by members, its settings and its log by owners.

mod invitation;
mod log;
mod members;
mod new;
mod overview;
mod settings;

use axum::Router;

use super::viewer::Viewer;
use crate::{domain::access::Role, store::Organisation, web::Web};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .merge(overview::routes())
        .merge(members::routes())
        .merge(settings::routes())
        .merge(log::routes())
        .merge(new::routes())
        .merge(invitation::routes())
}

/// The pages of one organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Repositories,
    Members,
    Log,
    Settings,
}

/// One entry of the tabs.
struct TabLink {
    href: String,
    label: &'static str,
    is_current: bool,
}

/// What stands above every page of an organisation; templates hold it as `head`.
struct OrganisationHead {
    name: String,
    /// The name where it has none for people to read.
    title: String,
    description: String,
    path: String,
    /// What the viewer may do there.
    role: Option<Role>,
    tabs: Vec<TabLink>,
}

impl OrganisationHead {
    fn new(viewer: &Viewer, organisation: &Organisation, current: Tab) -> Self {
        let path = path_of(&organisation.name);
        let role = viewer.caller.role_in(&organisation.name);
        let tabs = [
            (Tab::Repositories, "", "Repositories", true),
            (Tab::Members, "/members", "Members", role >= Some(Role::Read)),
            (Tab::Log, "/audit", "Audit log", role >= Some(Role::Owner)),
            (Tab::Settings, "/settings", "Settings", role >= Some(Role::Owner)),
        ];
        let shown = tabs.into_iter().filter(|(.., is_shown)| *is_shown);
        Self {
            name: organisation.name.clone(),
            title: match organisation.display_name.is_empty() {
                true => organisation.name.clone(),
                false => organisation.display_name.clone(),
            },
            description: organisation.description.clone(),
            tabs: shown
                .map(|(tab, below, label, _)| TabLink {
                    href: format!("{path}{below}"),
                    label,
                    is_current: tab == current,
                })
                .collect(),
            path,
            role,
        }
    }

    fn is_owner(&self) -> bool {
        self.role >= Some(Role::Owner)
    }
}

fn path_of(name: &str) -> String {
    format!("/o/{name}")
}

/// One role to choose.
struct RoleChoice {
    value: &'static str,
    explanation: &'static str,
    is_chosen: bool,
}

fn role_choices(chosen: Role) -> Vec<RoleChoice> {
    let choice = |role: Role| RoleChoice {
        value: role.as_str(),
        explanation: role.explanation(),
        is_chosen: role == chosen,
    };
    Role::ALL.into_iter().map(choice).collect()
}
