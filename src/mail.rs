//! Mail, sent by SMTP. What is said to whom is decided elsewhere; here it can become no more than one message to one address,
//! whatever the texts hold.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp,
};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

/// For each command of the conversation.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// For the whole of it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest subject, in characters.
const LONGEST_SUBJECT: usize = 150;

/// The server's answers to a name and password that it does not take: of us, not of a letter.
const NOT_AUTHENTICATED: [&str; 4] = ["530", "534", "535", "538"];

/// A mail server, and whom mail is from.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// One message of plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    /// Unique, and the same each time that this letter is sent: whoever gets it twice can tell. Letters, digits and dots.
    pub id: String,
    pub date: DateTime<Utc>,
}

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("mail.smtp_url: it is smtps://USER:PASSWORD@HOST or smtp://HOST?tls=required")]
    Server,
    #[error("mail.smtp_url: it sends a password in the clear: use smtps://, or add ?tls=required")]
    Unprotected,
    #[error("mail.from: it is an address such as builds@example.com, or `Hullworks <builds@example.com>`")]
    From,
}

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No letter can be sent now.
    #[error("the mail server cannot be used: {0}")]
    Unavailable(String),
    /// This one may be taken later.
    #[error("the mail server asks to try again later: {0}")]
    Deferred(String),
    /// This one never will be.
    #[error("the letter cannot be sent: {0}")]
    Refused(String),
}

impl Mailer {
    /// Connects to nothing yet.
    pub fn new(smtp_url: &SecretString, from: &str) -> Result<Self, MailError> {
        let url = Url::parse(smtp_url.expose_secret()).map_err(|_| MailError::Server)?;
        if !protects_password(&url) {
            return Err(MailError::Unprotected);
        }
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str()).map_err(|_| MailError::Server)?;
        Ok(Self {
            transport: builder.timeout(Some(COMMAND_TIMEOUT)).build(),
            from: from.parse().map_err(|_| MailError::From)?,
        })
    }

    /// Hands a letter to the mail server. When this returns it is the server's to deliver.
    pub async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let message = self.message(letter)?;
        let sent = tokio::time::timeout(TIMEOUT, self.transport.send(message)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(meaning(&error)),
            Err(_) => Err(SendError::Unavailable(format!("it took longer than {TIMEOUT:?}"))),
        }
    }

    fn message(&self, letter: &Letter) -> Result<Message, SendError> {
        let refused = |what: &str| SendError::Refused(what.to_owned());
        let to: Address = letter.to.parse().map_err(|_| refused("the address is none"))?;
        let subject: String = letter
            .subject
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LONGEST_SUBJECT)
            .collect();
        let id = letter.id.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "");
        // No out-of-office notes in answer (RFC 3834).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date(letter.date.into())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|error| SendError::Refused(error.to_string()))
    }
}

/// Whether a password, if there is one, leaves this machine encrypted.
fn protects_password(url: &Url) -> bool {
    let is_encrypted =
        url.scheme() == "smtps" || url.query_pairs().any(|pair| pair == ("tls".into(), "required".into()));
    // The scheme is not one that the parser knows the hosts of: addresses are names to it.
    let is_here = match url.host() {
        Some(Host::Domain(name)) => matches!(name, "localhost" | "127.0.0.1"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.password().is_none() || is_encrypted || is_here
}

fn meaning(error: &smtp::Error) -> SendError {
    let text = error.to_string();
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    if NOT_AUTHENTICATED.contains(&code.as_str()) {
        SendError::Unavailable(text)
    } else if error.is_permanent() {
        SendError::Refused(text)
    } else if error.is_transient() {
        SendError::Deferred(text)
    } else {
        SendError::Unavailable(with_causes(error))
    }
}

/// An error with what led to it: the outer one alone says little.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        Mailer::new(&"smtp://127.0.0.1:2525".into(), "Hullworks <builds@example.com>").unwrap()
    }

    fn letter(to: &str, subject: &str) -> Letter {
        Letter {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "One line.\n.\nA line after a dot.\n".to_owned(),
            id: "0190.ann".to_owned(),
            date: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        }
    }

    fn headers(message: &Message) -> String {
        let text = String::from_utf8(message.formatted()).unwrap();
        text.split_once("\r\n\r\n").unwrap().0.to_owned()
    }

    #[test]
    fn a_letter_is_one_message_to_one_address() {
        let message = mailer()
            .message(&letter("ann@example.com", "team/app #1 failed"))
            .unwrap();
        let headers = headers(&message);
        for line in [
            "From: Hullworks <builds@example.com>",
            "To: ann@example.com",
            "Subject: team/app #1 failed",
            "Message-ID: <0190.ann@example.com>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(headers.lines().any(|known| known == line), "{line} in {headers}");
        }
    }

    #[test]
    fn nothing_in_a_letter_becomes_a_header_or_a_further_address() {
        for subject in [
            "x\r\nBcc: evil@example.com",
            "x\nBcc: evil@example.com\n\nbody",
            "x\rBcc: e@example.com",
            "x\0y",
        ] {
            let message = mailer().message(&letter("ann@example.com", subject)).unwrap();
            let headers = headers(&message);
            assert!(
                !headers.lines().any(|line| line.to_lowercase().starts_with("bcc")),
                "{headers}"
            );
            assert_eq!(message.envelope().to().len(), 1);
        }
        for address in [
            "ann@example.com\r\nBcc: evil@example.com",
            "ann@example.com, evil@example.com",
            "Ann <ann@example.com>",
            "ann@example.com>\r\nDATA",
            "",
        ] {
            let result = mailer().message(&letter(address, "x"));
            assert!(matches!(result, Err(SendError::Refused(_))), "{address:?}");
        }
    }

    #[test]
    fn a_subject_of_any_length_and_script_stays_a_subject() {
        let long = "ü".repeat(100_000);
        let message = mailer().message(&letter("ann@example.com", &long)).unwrap();
        assert!(message.formatted().len() < 5000);
    }

    #[test]
    fn a_password_never_travels_in_the_clear() {
        let check = |url: &str, expected: bool| {
            let result = Mailer::new(&url.into(), "a@example.com");
            assert_eq!(result.is_ok(), expected, "{url}");
        };
        check("smtps://u:p@mail.example.com", true);
        check("smtp://u:p@mail.example.com?tls=required", true);
        check("smtp://mail.example.com", true);
        check("smtp://u:p@127.0.0.1:2525", true);
        check("smtp://u:p@localhost:2525", true);
        check("smtp://u:p@mail.example.com", false);
        check("smtp://u:p@mail.example.com?tls=opportunistic", false);
        check("https://mail.example.com", false);
        check("mail.example.com", false);
        check("", false);
    }

    #[test]
    fn whom_mail_is_from_is_an_address() {
        let url = SecretString::from("smtp://127.0.0.1");
        for good in ["builds@example.com", "Hullworks <builds@example.com>"] {
            assert!(Mailer::new(&url, good).is_ok(), "{good}");
        }
        for bad in ["", "Hullworks", "a@example.com, b@example.com"] {
            assert!(matches!(Mailer::new(&url, bad), Err(MailError::From)), "{bad}");
        }
    }
}
