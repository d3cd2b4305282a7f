use super::write::write_element;
use super::{AsValue, Document, DocumentBuf, Error, Value, value};

/// A document with some of its fields changed.
///
/// What is not named here is copied byte for byte and stays where it is. Edits see those made before them.
///
/// ```
/// use tidegate_plugin::bson::{DateTime, DocumentBuf, DocumentEditor};
///
/// let old = DocumentBuf::new().with("a", 1).with("timestamp", "2024-01-31T00:00:00Z").with("z", "kept");
/// let mut editor = DocumentEditor::new(old.as_document());
/// editor.replace("timestamp", "occurred_at", DateTime(1_706_659_200_000)).set("currency", "USD").remove("a");
/// let new = editor.finish()?;
/// let names: Vec<_> = new.as_document().elements().map(|element| Ok(element?.0)).collect::<Result<_, _>>()?;
/// assert_eq!(names, ["occurred_at", "z", "currency"]);
/// # Ok::<(), tidegate_plugin::bson::Error>(())
/// ```
pub struct DocumentEditor<'a> {
    document: Document<'a>,
    edits: Vec<Edit<'a>>,
    /// Elements to be written, one after the other.
    written: Vec<u8>,
}

/// What becomes of one field of the document.
struct Edit<'a> {
    /// Name of the field in the original whose place this is, no two edits having the same; none: at the end.
    place: Option<&'a str>,
    /// What is written there, or at the end when the original has no such field.
    put: Option<Put<'a>>,
}

struct Put<'a> {
    name: &'a str,
    tag: u8,
    /// Where the element begins and ends in `written`, and where its value begins.
    start: usize,
    value: usize,
    end: usize,
}

impl<'a> DocumentEditor<'a> {
    /// Begins with the document as it is.
    pub fn new(document: Document<'a>) -> Self {
        Self { document, edits: Vec::new(), written: Vec::new() }
    }

    /// The value of a field as the edits so far leave it.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        if let Some(put) = self.edits.iter().filter_map(|edit| edit.put.as_ref()).find(|put| put.name == name) {
            return value::decode(put.tag, self.written.get(put.value..put.end)?, 0).ok();
        }
        let gone = self.edits.iter().any(|edit| edit.place == Some(name));
        if gone { None } else { self.document.get(name) }
    }

    /// Gives a field a value: in its place if it is there, else at the end.
    pub fn set(&mut self, name: &'a str, value: impl AsValue) -> &mut Self {
        self.put(name, name, value)
    }

    /// Takes a field away. Nothing happens when it is not there.
    pub fn remove(&mut self, name: &'a str) -> &mut Self {
        self.edit(name).put = None;
        self
    }

    /// Puts a field of another name and value in the place of `old`, or at the end when `old` is not there. Any other
    /// field called `new` goes.
    pub fn replace(&mut self, old: &'a str, new: &'a str, value: impl AsValue) -> &mut Self {
        if old != new {
            self.remove(new);
        }
        self.put(old, new, value)
    }

    fn put(&mut self, field: &'a str, name: &'a str, value: impl AsValue) -> &mut Self {
        let (value, start) = (value.as_value(), self.written.len());
        write_element(&mut self.written, name, value);
        let name_length = self.written.iter().skip(start + 1).position(|&byte| byte == 0).unwrap_or_default();
        let put = Put { name, tag: value.tag(), start, value: start + 1 + name_length + 1, end: self.written.len() };
        self.edit(field).put = Some(put);
        self
    }

    /// The edit that decides about the field which is called `name` now.
    fn edit(&mut self, name: &'a str) -> &mut Edit<'a> {
        let now = |edit: &Edit<'_>| edit.put.as_ref().is_some_and(|put| put.name == name);
        let was = |edit: &Edit<'_>| edit.place == Some(name);
        let free = |edit: &Edit<'_>| was(edit) && edit.put.is_none();
        let found = self.edits.iter().position(now).or_else(|| self.edits.iter().position(free));
        let index = found.unwrap_or_else(|| {
            // Where another field has taken the place, this one goes to the end.
            let place = if self.edits.iter().any(was) { None } else { Some(name) };
            self.edits.push(Edit { place, put: None });
            self.edits.len() - 1
        });
        &mut self.edits[index]
    }

    /// The new document, in one pass over the old one.
    ///
    /// # Errors
    /// When the old document is malformed; nested documents are copied without a look into them.
    pub fn finish(&self) -> Result<DocumentBuf, Error> {
        let old = self.document.as_bytes();
        let mut out = DocumentBuf::with_capacity(old.len() + self.written.len());
        let mut used = vec![false; self.edits.len()];
        // Where the bytes begin that are to be copied as they are.
        let mut keep = 4;
        for element in self.document.raw_elements() {
            let element = element?;
            let mut edits = self.edits.iter().zip(&mut used);
            let edit = edits.find(|(edit, _)| edit.place.is_some_and(|place| place.as_bytes() == element.name));
            let Some((edit, used)) = edit else { continue };
            out.append_raw(old.get(keep..element.start).unwrap_or_default());
            keep = element.end;
            // Of a field that occurs twice, the second goes.
            if !std::mem::replace(used, true) {
                self.append(&mut out, edit);
            }
        }
        out.append_raw(old.get(keep..old.len().saturating_sub(1)).unwrap_or_default());
        for (edit, _) in self.edits.iter().zip(used).filter(|(_, used)| !used) {
            self.append(&mut out, edit);
        }
        Ok(out)
    }

    fn append(&self, out: &mut DocumentBuf, edit: &Edit<'_>) {
        if let Some(bytes) = edit.put.as_ref().and_then(|put| self.written.get(put.start..put.end)) {
            out.append_raw(bytes);
        }
    }
}
