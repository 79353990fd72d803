//! READMEs as HTML. What they hold was written by strangers: only what is listed here becomes markup, everything else is
//! shown as the text that it is.
//!
//! HTML stays text. Links lead to `http`, `https`, `mailto` or a heading; images become links, for pages load nothing from
//! other hosts. Headings are moved below those of the page, without leaving out a level.

use std::{collections::HashMap, fmt};

use pulldown_cmark::{CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// The level of the page's own heading, below which those of the text are.
const LEVEL_ABOVE: usize = 2;

/// Set before every id, so that none is one of the page's.
const ID_PREFIX: &str = "readme-";

/// HTML that was made here, which templates need not escape.
pub struct SafeHtml(String);

impl fmt::Display for SafeHtml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for SafeHtml {}

/// The HTML of a text in Markdown.
pub fn render(text: &str) -> SafeHtml {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut writer = Writer::default();
    for event in Parser::new_ext(text, options) {
        writer.take(event);
    }
    let mut out = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut out, writer.events.into_iter());
    SafeHtml(out)
}

/// Turns what was read into what is written.
#[derive(Default)]
struct Writer<'a> {
    events: Vec<Event<'a>>,
    /// The level of the heading before.
    level: usize,
    /// Where the heading begins that is being read, and its text so far.
    heading: Option<(usize, String)>,
    /// How often each id was given.
    ids: HashMap<String, usize>,
    link: Option<Link>,
    /// How many images the present place is in.
    images: usize,
    html_block: Option<String>,
    is_in_head: bool,
}

/// A link that is being read.
struct Link {
    /// `None`: it leads where no link may, and its text stands alone.
    address: Option<String>,
    has_text: bool,
    is_image: bool,
}

impl<'a> Writer<'a> {
    fn take(&mut self, event: Event<'a>) {
        if let Some(block) = &mut self.html_block {
            match event {
                Event::End(TagEnd::HtmlBlock) => self.end_html_block(),
                Event::Html(text) | Event::Text(text) => block.push_str(&text),
                _ => {}
            }
            return;
        }
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(text, Event::Text),
            Event::Code(text) => self.text(text, Event::Code),
            Event::InlineHtml(text) | Event::Html(text) => self.text(text, Event::Text),
            Event::TaskListMarker(is_done) => self.text(if is_done { "☑ " } else { "☐ " }.into(), Event::Text),
            Event::SoftBreak | Event::HardBreak | Event::Rule => self.events.push(event),
            // These are not asked for.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.text(text, Event::Text);
            }
        }
    }

    fn text(&mut self, text: CowStr<'a>, make: impl FnOnce(CowStr<'a>) -> Event<'a>) {
        if !text.trim().is_empty() {
            if let Some(link) = &mut self.link {
                link.has_text = true;
            }
            if let Some((_, heading)) = &mut self.heading {
                heading.push_str(&text);
            }
        }
        self.events.push(make(text));
    }

    fn markup(&mut self, html: impl Into<CowStr<'a>>) {
        self.events.push(Event::Html(html.into()));
    }

    fn start(&mut self, tag: Tag<'a>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.heading = Some((self.events.len(), String::new()));
                let level = level as usize + LEVEL_ABOVE;
                self.level = level.min(self.level.max(LEVEL_ABOVE) + 1).min(6);
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.markup("<pre tabindex=\"0\"><code>");
            }
            Tag::HtmlBlock => self.html_block = Some(String::new()),
            Tag::Link {
                link_type, dest_url, ..
            } => {
                let address = match link_type {
                    LinkType::Email => allowed(&format!("mailto:{dest_url}")),
                    _ => allowed(&dest_url),
                };
                self.start_link(address, false);
            }
            Tag::Image { dest_url, .. } => {
                self.images += 1;
                self.start_link(allowed(&dest_url).filter(|address| address.starts_with("http")), true);
            }
            // Alignments would be written as styles, which no page may hold.
            Tag::Table(_) => {
                self.markup("<div class=\"scroll-x\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>")
            }
            Tag::TableHead => {
                self.is_in_head = true;
                self.markup("<thead><tr>");
            }
            Tag::TableRow => self.markup("<tr>"),
            Tag::TableCell => self.markup(if self.is_in_head { "<th scope=\"col\">" } else { "<td>" }),
            Tag::BlockQuote(_) => self.events.push(Event::Start(Tag::BlockQuote(None))),
            tag @ (Tag::Paragraph | Tag::List(_) | Tag::Item | Tag::Emphasis | Tag::Strong | Tag::Strikethrough) => {
                self.events.push(Event::Start(tag));
            }
            // These are not asked for.
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.end_heading(),
            TagEnd::CodeBlock => self.markup("</code></pre>"),
            TagEnd::Link if self.images == 0 => self.end_link(),
            TagEnd::Link => {}
            TagEnd::Image => {
                self.images = self.images.saturating_sub(1);
                if self.images == 0 && self.link.as_ref().is_some_and(|link| link.is_image) {
                    self.end_link();
                } else if self.link.as_ref().is_some_and(|link| !link.has_text) {
                    self.text("image".into(), Event::Text);
                }
            }
            TagEnd::Table => self.markup("</tbody></table></div>"),
            TagEnd::TableHead => {
                self.is_in_head = false;
                self.markup("</tr></thead><tbody>");
            }
            TagEnd::TableRow => self.markup("</tr>"),
            TagEnd::TableCell => self.markup(if self.is_in_head { "</th>" } else { "</td>" }),
            TagEnd::BlockQuote(_) => self.events.push(Event::End(TagEnd::BlockQuote(None))),
            tag @ (TagEnd::Paragraph
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough) => self.events.push(Event::End(tag)),
            TagEnd::HtmlBlock
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    /// Links within links, which images in links would be, are no HTML: the outer one holds.
    fn start_link(&mut self, address: Option<String>, is_image: bool) {
        if self.link.is_some() {
            return;
        }
        if let Some(address) = &address {
            self.markup(format!("<a href=\"{}\" rel=\"nofollow noopener\">", escape(address)));
        }
        self.link = Some(Link {
            address,
            has_text: false,
            is_image,
        });
    }

    fn end_link(&mut self) {
        let Some(link) = self.link.take() else { return };
        if !link.has_text {
            let text = link.address.clone().unwrap_or_else(|| "image".to_owned());
            self.events.push(Event::Text(text.into()));
        }
        if link.address.is_some() {
            self.markup("</a>");
        }
    }

    /// A heading without text is no heading: its content stands as a paragraph.
    fn end_heading(&mut self) {
        let Some((at, text)) = self.heading.take() else { return };
        let (start, end) = match text.is_empty() {
            true => ("<p>".to_owned(), "</p>".to_owned()),
            false => {
                let id = self.id_of(&text);
                (
                    format!("<h{} id=\"{}\">", self.level, escape(&id)),
                    format!("</h{}>\n", self.level),
                )
            }
        };
        self.events.insert(at, Event::Html(start.into()));
        self.markup(end);
    }

    /// As forges make them: the words in lower case, joined by `-`, numbered when they repeat.
    fn id_of(&mut self, text: &str) -> String {
        let slug = slug(text);
        let count = self.ids.entry(slug.clone()).or_default();
        *count += 1;
        match *count {
            1 => format!("{ID_PREFIX}{slug}"),
            more => format!("{ID_PREFIX}{slug}-{}", more - 1),
        }
    }

    /// Comments are not meant to be seen; all else is shown.
    fn end_html_block(&mut self) {
        let Some(block) = self.html_block.take() else { return };
        let shown = block.trim();
        if shown.is_empty() || (shown.starts_with("<!--") && shown.ends_with("-->")) {
            return;
        }
        self.markup("<p class=\"quiet mono\">");
        self.events.push(Event::Text(shown.to_owned().into()));
        self.markup("</p>");
    }
}

fn slug(text: &str) -> String {
    text.trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
            _ => None,
        })
        .collect()
}

/// The address of a link, if it is one that may be followed from here.
fn allowed(address: &str) -> Option<String> {
    if let Some(heading) = address.strip_prefix('#') {
        return Some(format!("#{ID_PREFIX}{heading}"));
    }
    let (scheme, _) = address.split_once(':')?;
    ["http", "https", "mailto"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then(|| address.to_owned())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, expected: &str) {
        assert_eq!(render(markdown).to_string().trim(), expected, "{markdown}");
    }

    #[test]
    fn html_stays_text() {
        check("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>");
        check(
            "<script>alert(1)</script>",
            "<p class=\"quiet mono\">&lt;script&gt;alert(1)&lt;/script&gt;</p>",
        );
        check("<!-- hidden\n\nstill -->\n\nx", "<p>x</p>");
        check("<!-- a --><script>x</script><!-- b -->", "");
        check("`<i>`", "<p><code>&lt;i&gt;</code></p>");
        check(
            "```html\"><script>\n<i>\n```",
            "<pre tabindex=\"0\"><code>&lt;i&gt;\n</code></pre>",
        );
    }

    #[test]
    fn links_lead_only_where_they_may() {
        let link =
            |address: &str, text: &str| format!("<p><a href=\"{address}\" rel=\"nofollow noopener\">{text}</a></p>");
        check(
            "[x](https://a.example/?b=1&c)",
            &link("https://a.example/?b=1&amp;c", "x"),
        );
        check("<ann@example.com>", &link("mailto:ann@example.com", "ann@example.com"));
        check("[x](#a-b)", &link("#readme-a-b", "x"));
        check("[](https://a.example)", &link("https://a.example", "https://a.example"));
        check(
            "[x](<https://a.example/\"onclick=\"y>)",
            &link("https://a.example/&quot;onclick=&quot;y", "x"),
        );
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt:x",
            "data:text/html,x",
            "docs/x.md",
            "//evil.example",
            "/r/a/b",
            "vbscript:x",
            "&#106;avascript:x",
        ] {
            check(&format!("[x]({bad})"), "<p>x</p>");
        }
    }

    #[test]
    fn images_become_links_and_in_links_their_words() {
        check(
            "![logo](https://a.example/x.png)",
            "<p><a href=\"https://a.example/x.png\" rel=\"nofollow noopener\">logo</a></p>",
        );
        check("![logo](x.png)", "<p>logo</p>");
        check("![](x.png)", "<p>image</p>");
        check(
            "[![state](https://a.example/b.svg)](https://a.example)",
            "<p><a href=\"https://a.example\" rel=\"nofollow noopener\">state</a></p>",
        );
        check(
            "[![](https://a.example/b.svg)](https://a.example)",
            "<p><a href=\"https://a.example\" rel=\"nofollow noopener\">image</a></p>",
        );
        check(
            "![a [b](https://b.example) c](https://a.example/x.png)",
            "<p><a href=\"https://a.example/x.png\" rel=\"nofollow noopener\">a b c</a></p>",
        );
    }

    #[test]
    fn headings_are_below_those_of_the_page_without_gaps() {
        check(
            "# A b\n#### C\n# A b\n####",
            "<h3 id=\"readme-a-b\">A b</h3>\n<h4 id=\"readme-c\">C</h4>\n<h3 id=\"readme-a-b-1\">A b</h3>\n<p></p>",
        );
        check("## \"<x>", "<h3 id=\"readme-x\">\"&lt;x&gt;</h3>");
    }

    #[test]
    fn tables_have_no_styles_and_tasks_no_inputs() {
        check(
            "| a | b |\n|:-:|--:|\n| 1 | 2 |",
            "<div class=\"scroll-x\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table><thead><tr>\
             <th scope=\"col\">a</th><th scope=\"col\">b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr>\
             </tbody></table></div>",
        );
        check("- [x] a", "<ul>\n<li>☑ a</li>\n</ul>");
    }

    #[test]
    fn deep_nesting_is_survived() {
        render(&">".repeat(20_000));
        render(&"- ".repeat(20_000));
        render(&"[".repeat(20_000));
        render(&"*_".repeat(20_000));
        render(&format!("{}x", "![".repeat(20_000)));
    }
}
