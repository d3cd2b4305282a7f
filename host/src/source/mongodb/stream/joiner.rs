//! Joins the fragments of events that are too large for one message.
//!
//! `$changeStreamSplitLargeEvent` cuts an event between its members; each fragment says `splitEvent: {fragment, of}` and has a token of
//! its own. The whole event takes the token of its last fragment, so that no position is ever in the middle of one. A reply may end
//! between two fragments: what is there of the event is kept, and the reply has no token of its own then.

use bson::raw::{RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, cstr};

use crate::{format::elements::Malformed, source::mongodb::event::Reply};

/// Fragments of an event that is not whole yet.
#[derive(Debug, Default)]
pub(in crate::source::mongodb) struct Joiner {
    /// Its members so far.
    event: Option<RawDocumentBuf>,
}

impl Joiner {
    /// The reply with whole events alone.
    ///
    /// # Errors
    /// What the server sent is no event, or fragments are missing.
    pub(in crate::source::mongodb) fn join(&mut self, reply: Reply) -> Result<Reply, Malformed> {
        const BROKEN: Malformed = Malformed("a fragment of a large event cannot be read");
        let mut split = self.event.is_some();
        for event in reply.events(0) {
            split |= fragment(read(event?.0)?)?.is_some();
        }
        if !split {
            return Ok(reply);
        }
        let mut whole = RawArrayBuf::new();
        for event in reply.events(0) {
            let event = read(event?.0)?;
            let Some((number, of)) = fragment(event)? else {
                if self.event.is_some() {
                    return Err(BROKEN);
                }
                whole.push(event);
                continue;
            };
            let mut joined = match (self.event.take(), number) {
                (None, 1) => RawDocumentBuf::new(),
                (Some(joined), 2..) => joined,
                _ => return Err(BROKEN),
            };
            let last = number == of;
            for member in event {
                let (name, value) = member.map_err(|_| BROKEN)?;
                if name.as_str() != "splitEvent" && (name.as_str() != "_id" || last) {
                    joined.append(name, value);
                }
            }
            match last {
                true => whole.push(joined),
                false => self.event = Some(joined),
            }
        }
        let mut cursor = RawDocumentBuf::new();
        cursor.append(cstr!("nextBatch"), whole);
        // The server's token may stand in the middle of an event; that of the last whole one does not.
        if let Some(token) = reply.token.as_deref().filter(|_| self.event.is_none()) {
            let mut id = RawDocumentBuf::new();
            id.append(cstr!("_data"), token);
            cursor.append(cstr!("postBatchResumeToken"), id);
        }
        let mut joined = RawDocumentBuf::new();
        joined.append(cstr!("cursor"), cursor);
        Reply::new(joined.into_bytes().into())
    }
}

fn read(event: &[u8]) -> Result<&RawDocument, Malformed> {
    RawDocument::from_bytes(event).map_err(|_| Malformed("an event is cut off"))
}

/// Which fragment it is, of how many; none for a whole event.
fn fragment(event: &RawDocument) -> Result<Option<(i32, i32)>, Malformed> {
    const BROKEN: Malformed = Malformed("a fragment of a large event does not say which it is");
    match event.get("splitEvent").map_err(|_| BROKEN)? {
        None => Ok(None),
        Some(RawBsonRef::Document(split)) => {
            Ok(Some((split.get_i32("fragment").map_err(|_| BROKEN)?, split.get_i32("of").map_err(|_| BROKEN)?)))
        }
        Some(_) => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::{Joiner, Reply};

    fn reply(events: Vec<Document>, token: &str) -> Reply {
        let reply = doc! { "cursor": { "nextBatch": events, "postBatchResumeToken": { "_data": token } } };
        Reply::new(reply.to_vec().unwrap().into()).unwrap()
    }

    fn part(token: &str, fragment: i32, of: i32, name: &str) -> Document {
        doc! { "_id": { "_data": token }, "splitEvent": { "fragment": fragment, "of": of }, name: fragment }
    }

    fn seen(reply: &Reply) -> Vec<Document> {
        reply.events(0).map(|event| Document::from_reader(event.unwrap().0).unwrap()).collect()
    }

    #[test]
    fn fragments_become_one_event_over_the_end_of_a_reply() {
        let mut joiner = Joiner::default();
        let (small, next) = (doc! { "_id": { "_data": "80" }, "n": 1 }, doc! { "_id": { "_data": "83" } });
        let first = reply(vec![small.clone(), part("811", 1, 3, "a"), part("812", 2, 3, "b")], "812");
        let first = joiner.join(first).unwrap();
        assert_eq!(seen(&first), [small]);
        assert_eq!((first.token.as_deref(), first.last_token().as_deref()), (None, Some("80")), "never in the middle");
        let second = joiner.join(reply(vec![part("813", 3, 3, "c"), next.clone()], "84")).unwrap();
        let joined = doc! { "a": 1, "b": 2, "_id": { "_data": "813" }, "c": 3 };
        assert_eq!(seen(&second), [joined, next]);
        assert_eq!(second.token.as_deref(), Some("84"));
        let only = joiner.join(reply(vec![part("851", 1, 2, "a")], "851")).unwrap();
        assert_eq!((only.is_read(0), only.last_token()), (true, None));
    }

    #[test]
    fn what_is_out_of_order_is_an_error() {
        let whole = doc! { "_id": { "_data": "80" } };
        for events in [
            vec![part("81", 2, 2, "a")],
            vec![part("81", 1, 3, "a"), whole.clone()],
            vec![part("81", 1, 3, "a"), part("81", 1, 3, "a")],
            vec![doc! { "splitEvent": Bson::Null }],
            vec![doc! { "splitEvent": { "fragment": 1 } }],
        ] {
            assert!(Joiner::default().join(reply(events.clone(), "9")).is_err(), "{events:?}");
        }
    }
}
