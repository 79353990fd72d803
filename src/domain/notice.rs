//! What there is to tell of a build that ended, and of which people want to be told.

use serde::{Deserialize, Serialize};

/// Of which builds somebody wants to be told by mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Failures, and that it works again, of builds they started and of repositories in their own namespace.
    #[default]
    Mine,
    /// The same of every repository in their namespace and their organisations.
    Namespaces,
    /// Successes too.
    All,
    None,
}

impl Wish {
    pub const ALL: [Self; 4] = [Self::Mine, Self::Namespaces, Self::All, Self::None];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Namespaces => "namespaces",
            Self::All => "all",
            Self::None => "none",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wish| wish.as_str() == text)
    }

    /// The same in words, for the person who chooses.
    pub fn words(self) -> &'static str {
        match self {
            Self::Mine => "Failures of builds that I started, and of my own repositories; and when they work again",
            Self::Namespaces => "The same for every repository of mine and of my organisations",
            Self::All => "Every build of these, successful ones too",
            Self::None => "Nothing",
        }
    }
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Failed,
    /// It succeeded where the last one had failed.
    Recovered,
    Succeeded,
}

impl News {
    pub const ALL: [Self; 3] = [Self::Failed, Self::Recovered, Self::Succeeded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::Succeeded => "succeeded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|news| news.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_and_news_are_spelled_one_way() {
        for wish in Wish::ALL {
            assert_eq!(Wish::parse(wish.as_str()), Some(wish));
            assert_eq!(serde_json::to_value(wish).unwrap(), wish.as_str());
        }
        for news in News::ALL {
            assert_eq!(News::parse(news.as_str()), Some(news));
        }
        assert_eq!((Wish::parse("everything"), News::parse("")), (None, None));
    }
}
