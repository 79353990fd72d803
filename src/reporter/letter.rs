//! What a letter about a build says. All of it is plain text: what comes from logs and commits loses its control characters.

use chrono::{DateTime, Utc};

use super::ReporterParts;
use crate::{
    build_log::BuildLogs,
    domain::{ids::BuildId, notice::News},
    logs::chunks::ChunkReader,
    mail::Letter,
    store::{Build, StoreError, WaitingMail},
};

/// Lines of the log that a letter repeats.
const LAST_LINES: usize = 30;

/// Bytes of the log that they are looked for in.
const TAIL: u64 = 16 << 10;

/// Longest line of a letter, in characters.
const LONGEST_LINE: usize = 400;

/// The letter; `None` if nobody is to get it any more.
pub(super) async fn write(
    parts: &ReporterParts,
    mail: &WaitingMail,
    now: DateTime<Utc>,
) -> Result<Option<Letter>, StoreError> {
    let Some(to) = parts.store.mail_address(mail).await? else {
        return Ok(None);
    };
    let Some(build) = parts.store.build(&mail.build).await? else {
        return Ok(None);
    };
    let log = match mail.news {
        News::Failed => last_lines(&parts.logs, &build.id).await,
        News::Recovered | News::Succeeded => vec![],
    };
    Ok(Some(Letter {
        to,
        subject: subject(&build, mail.news),
        text: text(&build, mail.news, &log, &parts.base_url),
        id: format!("{}.{}", mail.build, mail.user),
        date: now,
    }))
}

fn subject(build: &Build, news: News) -> String {
    let name = format!("{} #{}", build.repository, build.number);
    match news {
        News::Failed => format!("{name} failed ({})", build.source_name),
        News::Recovered => format!("{name} works again ({})", build.source_name),
        News::Succeeded => format!("{name} succeeded ({})", build.source_name),
    }
}

fn text(build: &Build, news: News, log: &[String], base_url: &str) -> String {
    let mut lines = vec![match news {
        News::Failed => format!("Build {} of {} failed.", build.number, build.repository),
        News::Recovered => format!(
            "Build {} of {} succeeded: it works again.",
            build.number, build.repository
        ),
        News::Succeeded => format!("Build {} of {} succeeded.", build.number, build.repository),
    }];
    lines.push(String::new());
    if let Some(failure) = &build.failure {
        lines.push(format!("What failed:  {} ({})", failure.message, failure.kind.as_str()));
    }
    lines.push(format!(
        "Source:       {} {}",
        build.source_type.as_str(),
        build.source_name
    ));
    if let Some(commit) = &build.commit {
        let message = build.commit_message.as_deref().unwrap_or_default();
        let first = message.lines().next().unwrap_or_default();
        let short = commit.get(..7).unwrap_or(commit);
        lines.push(format!("Commit:       {short} {first}"));
    }
    lines.push(format!(
        "Image:        {}:{}",
        build.plan.image,
        build.plan.tags.join(", ")
    ));
    lines.push(format!("Build:        {base_url}/builds/{}", build.id));
    if !log.is_empty() {
        lines.extend([String::new(), "The end of its log:".to_owned(), String::new()]);
        lines.extend(log.iter().map(|line| format!("    {line}")));
    }
    lines.extend([
        String::new(),
        "-- ".to_owned(),
        format!("Which builds you are told of: {base_url}/settings/notifications"),
    ]);
    let plain = lines.iter().map(|line| plain(line));
    plain.map(|line| format!("{}\n", line.trim_end_matches('\r'))).collect()
}

/// The end of a log; nothing if it cannot be read, for the letter is worth more than its last lines.
async fn last_lines(logs: &BuildLogs, build: &BuildId) -> Vec<String> {
    let read = async {
        let size = logs.extent(build).await?.size;
        let (mut at, mut bytes) = (size.saturating_sub(TAIL), Vec::new());
        while at < size {
            let piece = logs.read(build, at, TAIL as usize).await?;
            if piece.bytes.is_empty() {
                break;
            }
            at += piece.bytes.len() as u64;
            bytes.extend(piece.bytes);
        }
        Ok::<_, crate::logs::chunks::ReadError>((bytes, size > TAIL))
    };
    match read.await {
        Ok((bytes, is_cut)) => lines_of(&bytes, is_cut),
        Err(error) => {
            tracing::warn!(%error, %build, "a notification goes without the end of the log");
            vec![]
        }
    }
}

/// The last lines of the end of a log; of one that is cut, the first may be half a line.
fn lines_of(bytes: &[u8], is_cut: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<String> = text.lines().skip(usize::from(is_cut)).map(plain).collect();
    lines.drain(..lines.len().saturating_sub(LAST_LINES));
    lines
}

/// A line without colours, cursor movements and other control characters, and not too long.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut characters),
            '\t' => plain.push_str("    "),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    match plain.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// Skips what follows an escape character: up to the final byte of a control sequence (ECMA-48, 5.4), or the whole of a
/// command such as a title.
fn skip_sequence(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => {
            while let Some(c) = characters.next_if(|c| !c.is_control()) {
                if ('@'..='~').contains(&c) {
                    return;
                }
            }
        }
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = characters.next() {
                if c == '\u{7}' || (c == '\u{1b}' && characters.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_what_is_no_text() {
        let check = |line: &str, expected: &str| assert_eq!(plain(line), expected);
        check("plain", "plain");
        check("\u{1b}[31;1mred\u{1b}[0m", "red");
        check("a\u{1b}]0;title\u{7}b", "ab");
        check("a\u{1b}]8;;https://evil.example\u{1b}\\b", "ab");
        check("a\u{1b}", "a");
        check("a\u{1b}[", "a");
        check("a\rb\0c\u{8}", "abc");
        check("a\tb", "a    b");
        assert_eq!(plain(&"x".repeat(1000)).chars().count(), LONGEST_LINE + 1);
    }

    #[test]
    fn the_end_of_a_log_is_its_last_whole_lines() {
        assert_eq!(lines_of(b"a\nb\n", false), ["a", "b"]);
        assert_eq!(lines_of(b"lf a line\nb\n", true), ["b"]);
        assert_eq!(lines_of(b"\xff\n", false), ["\u{fffd}"]);
        let many: String = (0..100).map(|line| format!("{line}\n")).collect();
        let lines = lines_of(many.as_bytes(), false);
        assert_eq!((lines.len(), lines[0].as_str()), (LAST_LINES, "70"));
        assert!(lines_of(b"", false).is_empty());
    }
}
