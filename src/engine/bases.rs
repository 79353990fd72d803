//! The images that a build stands on: what its Dockerfile names, held against what the builder says. The builder is right.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::{BuildSpec, Engine, dockerfile::Dockerfile};
use crate::domain::{
    build::BaseImage,
    dockerfile::{Arguments, Pinned, Role, Used, images, pin},
    image::ImageReference,
    progress::Progress,
};

/// The tag that is meant where none is named.
const DEFAULT_TAG: &str = "latest";

/// Most images that are told of one build.
const MAX_IMAGES: usize = 200;

/// Most images that the engine is asked about after a build.
const MAX_LOOKS: usize = 20;

/// The OCI image specification's pre-defined keys for the image that an image stands on.
const BASE_NAME_LABEL: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST_LABEL: &str = "org.opencontainers.image.base.digest";

/// What a build begins with.
pub(super) struct Prepared {
    /// As the builder is to read it.
    pub(super) dockerfile: Dockerfile,
    pub(super) bases: Bases,
}

/// What is known of the images that a build stands on.
pub(super) struct Bases {
    used: Used,
    pinned: BTreeMap<String, String>,
    left: BTreeMap<String, &'static str>,
    /// What the builder said: full names with tags, and the digests that it resolved.
    told: BTreeMap<String, BTreeSet<String>>,
    /// What the builder said of images that have a digest and no tag.
    told_by_digest: BTreeSet<String>,
    /// What the engine has for a name.
    looked_up: BTreeMap<String, String>,
}

/// Reads the images of a Dockerfile.
pub(super) fn read(dockerfile: &[u8], spec: &BuildSpec, platform: &str, buildkit: bool) -> Used {
    let arguments = Arguments {
        build_args: &spec.build_args,
        build_platform: platform,
        target_platform: spec.platform.as_deref().unwrap_or(platform),
        target: spec.target.as_deref(),
        every_stage: !buildkit,
    };
    images(dockerfile, &arguments)
}

/// Writes these digests into a Dockerfile.
pub(super) fn prepare(dockerfile: Dockerfile, used: Used, digests: &BTreeMap<String, String>) -> Prepared {
    for word in &used.unresolved {
        tracing::debug!(line = word.line, text = %word.text, reason = %word.reason, "no image is named here");
    }
    let Pinned {
        dockerfile: content,
        images: pinned,
        left,
    } = pin(&dockerfile.content, &used, digests);
    let dockerfile = match pinned.is_empty() {
        true => dockerfile,
        false => rewritten(dockerfile, content),
    };
    Prepared {
        dockerfile,
        bases: Bases {
            used,
            pinned,
            left,
            told: BTreeMap::new(),
            told_by_digest: BTreeSet::new(),
            looked_up: BTreeMap::new(),
        },
    }
}

fn rewritten(dockerfile: Dockerfile, content: Vec<u8>) -> Dockerfile {
    let hash: [u8; 32] = Sha256::digest(&content).into();
    let mut object = [0; 20];
    object.copy_from_slice(&hash[..20]);
    Dockerfile {
        object,
        content,
        rewritten: true,
        ..dockerfile
    }
}

impl Bases {
    /// Says which of the digests that were asked for were written in, and what is known before the build.
    pub(super) fn announce(&self, asked: &BTreeMap<String, String>, progress: &dyn Progress) {
        for name in asked.keys().take(MAX_IMAGES) {
            if let Some(digest) = self.pinned.get(name) {
                progress.line(&format!("base image {name} pinned to {digest}"));
            }
            if let Some(why) = self.left.get(name) {
                progress.line(&format!("base image {name} was not pinned: {why}"));
            }
        }
        self.tell(progress);
    }

    pub(super) fn tell(&self, progress: &dyn Progress) {
        progress.base_images(self.list());
    }

    /// What is asked for, with the labels that say what the image stands on. A digest is among them only where the Dockerfile
    /// names it: building the same again must give the same image.
    pub(super) fn labelled(&self, spec: &BuildSpec) -> BuildSpec {
        let mut spec = spec.clone();
        if let Some(image) = self.used.base.and_then(|base| self.used.images.get(base)) {
            let name = without_digest(&image.reference).to_string();
            spec.labels.insert(BASE_NAME_LABEL.to_owned(), name);
            if let Some(digest) = &image.reference.digest {
                spec.labels.insert(BASE_DIGEST_LABEL.to_owned(), digest.clone());
            }
        }
        spec
    }

    /// Takes what the builder says, and tells it on where it is new.
    pub(super) fn told(&mut self, images: impl IntoIterator<Item = ImageReference>, progress: &dyn Progress) {
        let mut is_new = false;
        for image in images {
            if self.told.len() + self.told_by_digest.len() >= MAX_IMAGES {
                break;
            }
            is_new |= match (&image.tag, image.digest.clone()) {
                // BuildKit leaves the tag away where the Dockerfile does.
                (None, Some(digest)) => match self.meant_by_tag(&image) {
                    Some(name) => self.told.entry(name).or_default().insert(digest),
                    None => self.told_by_digest.insert(image.to_string()),
                },
                (_, digest) => {
                    let name = without_digest(&image).to_string();
                    let is_known = self.told.contains_key(&name);
                    let digests = self.told.entry(name).or_default();
                    digest.is_some_and(|digest| digests.insert(digest)) || !is_known
                }
            };
        }
        if is_new {
            self.tell(progress);
        }
    }

    /// The name with the tag `latest` for an image without one, where that is what it was taken for: the Dockerfile does not
    /// name this digest, and the name is known with its tag.
    fn meant_by_tag(&self, image: &ImageReference) -> Option<String> {
        let name = image.with_tag(DEFAULT_TAG).to_string();
        let mut named = self.used.images.iter().map(|used| &used.reference);
        let is_exact = named.clone().any(|reference| reference == image);
        let is_known = self.told.contains_key(&name) || named.any(|reference| reference.to_string() == name);
        (is_known && !is_exact).then_some(name)
    }

    /// Every image, each under a name of its own.
    fn list(&self) -> Vec<BaseImage> {
        let needed = self.used.images.iter().filter(|image| image.needed);
        let (exact, by_tag): (Vec<_>, Vec<_>) = needed
            .map(|image| &image.reference)
            .partition(|reference| reference.digest.is_some());
        let by_tag: BTreeSet<String> = by_tag.into_iter().map(ToString::to_string).collect();
        // By name with tag, the digests that the Dockerfile names itself.
        let mut pins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for reference in exact.iter().filter(|reference| reference.tag.is_some()) {
            let digests = pins.entry(without_digest(reference).to_string()).or_default();
            digests.extend(reference.digest.clone());
        }
        let mut list: BTreeMap<String, (bool, Option<String>)> = BTreeMap::new();
        for reference in exact {
            let name = without_digest(reference).to_string();
            // Its tag names it as long as it stands for nothing else in the same file.
            let is_alone = pins.get(&name).is_some_and(|digests| digests.len() == 1) && !by_tag.contains(&name);
            let name = match (is_alone, &reference.digest) {
                (false, Some(digest)) => format!("{}@{digest}", reference.name()),
                _ => name,
            };
            list.insert(name, (true, reference.digest.clone()));
        }
        let told = self.told.keys().filter(|name| !pins.contains_key(*name));
        for name in by_tag.iter().chain(told) {
            list.insert(name.clone(), (false, self.digest(name, pins.get(name))));
        }
        for name in &self.told_by_digest {
            let digest = name.split_once('@').map(|(_, digest)| digest.to_owned());
            list.insert(name.clone(), (true, digest));
        }
        let images = list.into_iter().take(MAX_IMAGES);
        images
            .map(|(name, (pinned, digest))| BaseImage { name, digest, pinned })
            .collect()
    }

    /// The digest of an image that is named by its tag. `elsewhere`: the digests by which the Dockerfile names it too.
    fn digest(&self, name: &str, elsewhere: Option<&BTreeSet<String>>) -> Option<String> {
        if let Some(pinned) = self.pinned.get(name) {
            return Some(pinned.clone());
        }
        let told = self.told.get(name);
        let mut own = told.into_iter().flatten();
        let by_tag = own
            .clone()
            .find(|digest| elsewhere.is_none_or(|elsewhere| !elsewhere.contains(*digest)));
        by_tag
            .or_else(|| own.next())
            .or_else(|| self.looked_up.get(name))
            .cloned()
    }

    /// Notes where the Dockerfile and what BuildKit told do not say the same. What was not told stays among what is recorded:
    /// a rebuild too many does no harm, and one too few does.
    pub(super) fn note_differences(&self) {
        let read: BTreeSet<String> = self
            .used
            .images
            .iter()
            .filter(|image| image.needed)
            .map(|image| match image.reference.tag {
                Some(_) => without_digest(&image.reference).to_string(),
                None => image.reference.to_string(),
            })
            .collect();
        let told: BTreeSet<String> = self.told.keys().chain(&self.told_by_digest).cloned().collect();
        for image in read.difference(&told) {
            tracing::debug!(%image, "the Dockerfile names an image that the builder did not tell of");
        }
        for image in told.difference(&read) {
            tracing::debug!(%image, "the builder took an image that the Dockerfile was not seen to name");
        }
    }

    /// The names whose digests are not known. A build that failed may not have come to all of its images: of those it is not
    /// known what it would have taken.
    fn unknown(&self, succeeded: bool) -> Vec<String> {
        self.list()
            .into_iter()
            .filter(|image| image.digest.is_none() && (succeeded || self.told.contains_key(&image.name)))
            .map(|image| image.name)
            .take(MAX_LOOKS)
            .collect()
    }
}

impl Engine {
    /// The digests that a build is to stand on: those that are asked for, and what the registries have now for the images of
    /// `COPY --from` and `RUN --mount`. Of these BuildKit resolves the tag while it builds, up to version 0.8 without
    /// telling to what. Where a registry does not say it, the tag stays.
    pub(super) async fn exact_digests(&self, used: &Used, spec: &BuildSpec) -> BTreeMap<String, String> {
        let mut digests = spec.base_digests.clone();
        let untold: BTreeMap<String, &ImageReference> = used
            .images
            .iter()
            .filter(|image| image.needed && matches!(image.role, Role::CopyFrom | Role::MountFrom))
            .map(|image| &image.reference)
            .filter(|reference| reference.digest.is_none())
            .map(|reference| (reference.to_string(), reference))
            .filter(|(name, _)| !digests.contains_key(name))
            .collect();
        for (name, reference) in untold.into_iter().take(MAX_LOOKS) {
            let auth = spec.registry_auths.iter().find(|auth| auth.host == reference.registry);
            match self.digest_at_registry(&name, auth).await {
                Ok(Some(digest)) => {
                    digests.insert(name, digest);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, image = %name, "failed to ask for the digest of a base image");
                    break;
                }
            }
        }
        digests
    }

    /// Asks the engine for the digests that its builder did not tell.
    pub(super) async fn look_up(&self, bases: &mut Bases, succeeded: bool) {
        for name in bases.unknown(succeeded) {
            match self.digest_of(&name).await {
                Ok(Some(digest)) => {
                    bases.looked_up.insert(name, digest);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "failed to ask for the digest of a base image");
                    return;
                }
            }
        }
    }
}

/// As it is named by its tag.
fn without_digest(reference: &ImageReference) -> ImageReference {
    ImageReference {
        digest: None,
        ..reference.clone()
    }
}
