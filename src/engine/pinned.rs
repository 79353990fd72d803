//! A build context whose Dockerfile is another one than the repository's: the same with digests in it.

use std::{ops::ControlFlow, sync::Arc};

use super::dockerfile::Dockerfile;
use crate::domain::context::{BuildContext, ContextError, ContextPart, Entry, EntryKind, Selection};

/// Serves `dockerfile` in the place of the one that is there. In the context itself, from which files are copied, the
/// repository's own stays.
struct PinnedContext {
    inner: Arc<dyn BuildContext>,
    path: Vec<u8>,
    object: [u8; 20],
    content: Vec<u8>,
}

/// The context with this Dockerfile.
pub(super) fn context(inner: Arc<dyn BuildContext>, dockerfile: &Dockerfile) -> Arc<dyn BuildContext> {
    if !dockerfile.rewritten {
        return inner;
    }
    Arc::new(PinnedContext {
        inner,
        path: dockerfile.path.clone(),
        object: dockerfile.object,
        content: dockerfile.content.clone(),
    })
}

impl BuildContext for PinnedContext {
    fn walk(
        &self,
        part: ContextPart,
        selection: &Selection,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), ContextError> {
        self.inner.walk(part, selection, &mut |mut entry| {
            if part == ContextPart::Dockerfile
                && entry.path == self.path
                && let EntryKind::File { size, .. } = &mut entry.kind
            {
                *size = self.content.len() as u64;
                entry.object = self.object;
            }
            visit(entry)
        })
    }

    fn read(&self, object: &[u8; 20]) -> Result<Vec<u8>, ContextError> {
        match *object == self.object {
            true => Ok(self.content.clone()),
            false => self.inner.read(object),
        }
    }

    fn modified(&self) -> i64 {
        self.inner.modified()
    }

    fn dockerfile(&self) -> &str {
        self.inner.dockerfile()
    }
}
