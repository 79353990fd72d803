//! Refuses what would make images stand on each other in a circle: by links, by rules' tags and by what builds have told.

use std::collections::HashMap;

use super::sight::Seen;
use crate::{
    domain::{
        base_graph::Target,
        circles::{Maker, new_circle},
        ids::{RepositoryId, RuleId},
        image::ImageReference,
        repository::{Repository, default_image},
        rule::{Match, Rule},
    },
    store::{BuiltTarget, RepositoryChange, Sight},
    web::{
        Web,
        problem::{FieldError, Problem},
    },
};

/// The circle that a change would make, if it would make one, among the repositories that whoever makes it may see: what
/// they may not see must not be told by a refusal, and waves cut a circle that comes about unseen.
pub async fn check_circle(
    web: &Web,
    sight: &Sight,
    change: &RepositoryChange,
    existing: Option<&Repository>,
) -> Result<Option<FieldError>, Problem> {
    let stored = match existing {
        Some(repository) => web.store.repository_bases(&repository.id).await?.targets,
        None => vec![],
    };
    let default_registry = web.settings.default_registry.as_deref();
    let image = change.image.clone();
    let wanted = Own {
        image: named(&image.unwrap_or_else(|| default_image(&change.name, default_registry))),
        rules: &change.rules,
        links: &change.links,
        ignored: &change.ignored_base_images,
        detects: change.detect_base_images,
    };
    let (known, before) = match existing {
        Some(repository) => {
            let own = Own {
                image: named(&web.image_of(repository)),
                rules: &repository.rules,
                links: &repository.links,
                ignored: &repository.ignored_base_images,
                detects: repository.detect_base_images,
            };
            (&repository.rules[..], own.makers(&repository.rules, &stored))
        }
        None => (&[][..], vec![]),
    };
    let after = wanted.makers(known, &stored);
    if after.iter().all(|maker| maker.stands_on.is_empty()) {
        return Ok(None);
    }
    let others = others(web, sight, existing.map(|repository| &repository.id)).await?;
    let with_others = |own: Vec<Maker>| own.into_iter().chain(others.iter().cloned()).collect::<Vec<_>>();
    let own = after.len();
    let (before, after) = (with_others(before), with_others(after));
    let Some(circle) = new_circle(&before, &after, |maker| maker.place.starts_with(OWN)) else {
        return Ok(None);
    };
    let (by, image) = circle.by;
    let field = match by < own {
        true if change.links.contains(&image) => "links",
        true => "detect_base_images",
        false => "image",
    };
    let message = format!(
        "the images would stand on each other in a circle: {}",
        circle.images.join(" -> ")
    );
    Ok(Some(FieldError::new(field, message)))
}

/// How the places of a repository's own rules begin, which no id does.
const OWN: &str = "own\n";

/// A repository, as it is or as it would be.
struct Own<'a> {
    /// Fully named, without a tag.
    image: String,
    rules: &'a [Rule],
    links: &'a [String],
    ignored: &'a [String],
    detects: bool,
}

impl Own<'_> {
    /// What its rules make and stand on: as far as that is known before they build, and as they have built.
    fn makers(&self, stored_rules: &[Rule], built: &[BuiltTarget]) -> Vec<Maker> {
        let links = self.links.iter().filter(|image| !self.ignored.contains(image));
        let links: Vec<String> = links.cloned().collect();
        let mut makers: Vec<Maker> = self
            .rules
            .iter()
            .map(|rule| Maker {
                may_stand_on_itself: self.rules.len() > 1,
                ..declared(own_place(rule), &self.image, rule, &links)
            })
            .collect();
        for target in built {
            let stored = stored_rules.iter().find(|rule| rule.id == target.rule);
            let rule = stored.and_then(|stored| self.rules.iter().find(|rule| rule.is_same_as(stored)));
            let Some(rule) = rule else { continue };
            let Match::Tags(tags) = rule.matches(target.source_type, &target.source_name) else {
                continue;
            };
            let makes: Vec<String> = tags.iter().map(|tag| format!("{}:{tag}", self.image)).collect();
            let detected = target.detected.iter().filter(|base| {
                self.detects && !base.pinned && !self.ignored.contains(&base.name) && !makes.contains(&base.name)
            });
            makers.push(Maker {
                place: place_of_ref(own_place(rule), rule, &target.source_name),
                stands_on: detected
                    .map(|base| base.name.clone())
                    .chain(links.iter().cloned())
                    .collect(),
                makes,
                makes_any_of: None,
                may_stand_on_itself: self.rules.len() > 1,
            });
        }
        makers
    }
}

fn own_place(rule: &Rule) -> String {
    let kind = rule.source_type.as_str();
    let Rule {
        source,
        docker_tag,
        dockerfile,
        context,
        ..
    } = rule;
    format!("{OWN}{kind}\n{source}\n{docker_tag}\n{dockerfile}\n{context}")
}

/// A rule that has one ref is the same place before and after it has built.
fn place_of_ref(place: String, rule: &Rule, source_name: &str) -> String {
    match rule.literal_source() {
        Some(_) => place,
        None => format!("{place}\n{source_name}"),
    }
}

/// A rule, as far as it is known what it makes before it builds: its tags, or by the image's name alone.
fn declared(place: String, image: &str, rule: &Rule, links: &[String]) -> Maker {
    let tags = rule.literal_tags();
    Maker {
        place,
        makes_any_of: tags.is_none().then(|| image.to_owned()),
        makes: tags
            .unwrap_or_default()
            .iter()
            .map(|tag| format!("{image}:{tag}"))
            .collect(),
        stands_on: links.to_vec(),
        may_stand_on_itself: true,
    }
}

/// What all other repositories make and stand on.
async fn others(web: &Web, sight: &Sight, but: Option<&RepositoryId>) -> Result<Vec<Maker>, Problem> {
    let mut makers = Vec::new();
    let mut rules: HashMap<RuleId, Rule> = HashMap::new();
    for repository in web.store.declared_images(sight).await? {
        if Some(&repository.id) == but {
            continue;
        }
        let image = repository
            .image
            .unwrap_or_else(|| default_image(&repository.name, web.settings.default_registry.as_deref()));
        let image = named(&image);
        for rule in repository.rules {
            makers.push(declared(rule.id.to_string(), &image, &rule, &repository.links));
            rules.insert(rule.id.clone(), rule);
        }
    }
    let seen = Seen::with(web, sight).await?;
    let targets = seen.graph.targets().iter();
    for target in targets.filter(|target| Some(&target.repository) != but) {
        if let Some(rule) = rules.get(&target.rule) {
            makers.push(built(target, rule));
        }
    }
    Ok(makers)
}

fn built(target: &Target, rule: &Rule) -> Maker {
    Maker {
        place: place_of_ref(rule.id.to_string(), rule, &target.source_name),
        makes: target.makes.clone(),
        makes_any_of: None,
        stands_on: target.stands_on.iter().map(|base| base.image.clone()).collect(),
        may_stand_on_itself: true,
    }
}

/// Fully, without a tag.
fn named(image: &str) -> String {
    ImageReference::parse(image).map_or_else(|_| image.to_owned(), |image| image.name())
}
