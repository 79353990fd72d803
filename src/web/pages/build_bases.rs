//! What a build stood on and, where it followed from a move, what moved: as the page of the build shows it.

use super::{
    bases::image_path,
    words::{self, short},
};
use crate::{
    domain::{
        build::{BaseImage, Cause},
        ids::{BuildId, WaveId},
        repository::Repository,
    },
    store::Build,
    web::{
        Web,
        auth::Caller,
        base_images::{self, RepositoryBase},
        problem::Problem,
    },
};

/// The base images of a build's page.
#[derive(Default)]
pub struct BuildBases {
    /// What made this build follow.
    pub moved: Option<Moved>,
    pub rows: Vec<BaseRow>,
}

/// A base image that moved.
pub struct Moved {
    pub name: String,
    pub href: Option<String>,
    /// What the build before stood on, where that is known.
    pub from: Option<String>,
    pub to: String,
    /// The build that pushed it, where that is one that the viewer may see.
    pub parent: Option<String>,
    pub wave: Option<String>,
}

/// An image that the build stood on.
pub struct BaseRow {
    pub name: String,
    pub href: Option<String>,
    pub digest: Option<String>,
    pub short: String,
    /// Named by digest.
    pub pinned: bool,
    /// Whether its tag still stands for the same; none where that is not known.
    pub is_current: Option<bool>,
}

impl BuildBases {
    pub async fn of(
        web: &Web,
        caller: &Caller,
        build: &Build,
        repository: Option<&Repository>,
    ) -> Result<Self, Problem> {
        let known = match repository {
            Some(repository) => base_images::of_repository(web, caller, repository).await?,
            None => vec![],
        };
        let rows = build.base_images.iter().map(|base| BaseRow::new(base, &known));
        Ok(Self {
            rows: rows.collect(),
            moved: moved(web, caller, &build.cause, &known).await?,
        })
    }
}

async fn moved(web: &Web, caller: &Caller, cause: &Cause, known: &[RepositoryBase]) -> Result<Option<Moved>, Problem> {
    let Cause::BaseImage {
        image,
        from,
        to,
        parent,
        wave,
    } = cause
    else {
        return Ok(None);
    };
    let parent = match parent {
        Some(parent) => visible(web, caller, &BuildId::from(parent.as_str())).await?,
        None => None,
    };
    let wave = web.store.wave(&WaveId::from(wave.as_str())).await?;
    Ok(Some(Moved {
        name: words::image(image),
        href: page_of(image, known),
        from: from.clone(),
        to: to.clone(),
        parent: parent.map(|parent| parent.to_string()),
        wave: wave.map(|wave| wave.id.to_string()),
    }))
}

/// The id of a build that is there and that the viewer may see.
async fn visible(web: &Web, caller: &Caller, id: &BuildId) -> Result<Option<BuildId>, Problem> {
    let build = web.store.build(id).await?;
    let visible = build.filter(|build| caller.may_see(build.repository.namespace(), build.visibility));
    Ok(visible.map(|build| build.id))
}

/// The page of an image, where it is watched and the viewer may see it.
fn page_of(image: &str, known: &[RepositoryBase]) -> Option<String> {
    let base = known.iter().find(|base| base.image == image)?;
    (base.is_followed && base.watch.watched().is_some()).then(|| image_path(&base.familiar))
}

impl BaseRow {
    fn new(base: &BaseImage, known: &[RepositoryBase]) -> Self {
        let watched = known
            .iter()
            .find(|known| known.image == base.name)
            .and_then(|known| known.watch.watched());
        let current = watched.and_then(|watched| watched.digest.as_deref());
        Self {
            href: page_of(&base.name, known),
            short: base
                .digest
                .as_deref()
                .map(|digest| short(digest).to_owned())
                .unwrap_or_default(),
            is_current: match (base.pinned, base.digest.as_deref(), current) {
                (false, Some(used), Some(current)) => Some(used == current),
                _ => None,
            },
            name: base.name.clone(),
            digest: base.digest.clone(),
            pinned: base.pinned,
        }
    }
}
