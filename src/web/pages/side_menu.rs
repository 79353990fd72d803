//! The menu beside pages that belong together.

/// One entry.
pub struct SideLink {
    pub href: &'static str,
    pub label: &'static str,
    pub is_current: bool,
}

/// The menu of `pages`, each an address and a label, as it stands beside the page at `path` (which may have a query).
pub fn links(pages: &[(&'static str, &'static str)], path: &str) -> Vec<SideLink> {
    let path = path.split('?').next().unwrap_or_default();
    let link = |&(href, label): &(&'static str, &'static str)| SideLink {
        href,
        label,
        is_current: path.starts_with(href),
    };
    pages.iter().map(link).collect()
}
