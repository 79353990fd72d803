//! JSON without ambiguity: what two parsers could read differently is refused.
//!
//! One walk over the whole text checks what types cannot: no object has a key twice, at any depth, and no text nests
//! deeper than `serde_json`'s own bound of 128. Then a narrow, borrowing type picks out what is needed.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Most keys of one object: far above any sender's, and a bound on the memory that remembering them takes.
const MAX_KEYS: usize = 10_000;

/// Longest text of an error, in characters: it quotes what comes from outside.
const MAX_DETAIL: usize = 400;

/// Why a text is not taken, for the person who set its sender up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(String);

impl NotTaken {
    fn new(mut detail: String) -> Self {
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self(detail)
    }
}

/// Checks the whole text and then reads it as `T`; an error names the field at fault.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, NotTaken> {
    check(text)?;
    read(text)
}

/// Reads a text as `T` that was checked already.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, NotTaken> {
    // Keeping track of the path is slow, so only a text that is refused pays for it.
    serde_json::from_str(text).or_else(|_| {
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
            .map_err(|error| NotTaken::new(format!("the payload cannot be read: {error}")))
    })
}

/// Checks that the text is one JSON value without doubled keys.
pub fn check(text: &str) -> Result<(), NotTaken> {
    let mut keys = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Walk { keys: &mut keys }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| NotTaken::new(format!("the payload is not JSON that can be taken: {error}")))
}

/// Visits a value and everything in it. The objects on the way down share one stack of keys.
struct Walk<'s, 'de> {
    keys: &'s mut Vec<Cow<'de, str>>,
}

/// A key, unescaped, so that two spellings of the same one are found; borrowed where it needs no unescaping.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let first = self.keys.len();
        while let Some(Key(key)) = map.next_key()? {
            if self.keys.len() - first == MAX_KEYS {
                return Err(A::Error::custom(format_args!(
                    "an object has more than {MAX_KEYS} keys"
                )));
            }
            self.keys.push(key);
            map.next_value_seed(Walk { keys: self.keys })?;
        }
        let own = &mut self.keys[first..];
        own.sort_unstable();
        if let Some(pair) = own.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom(format_args!("the key `{}` is there twice", pair[0])));
        }
        self.keys.truncate(first);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Walk { keys: self.keys })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
