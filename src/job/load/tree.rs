//! Text → located tree: limits, duplicate keys, second documents, aliases and merge keys are judged here.
//!
//! The work is bounded by the size of the text: aliases share nodes, and what they would copy is counted and limited.

use std::{collections::HashSet, rc::Rc};

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle, Tag};

use super::{
    node::{At, Content, Entry, Node},
    syntax,
};
use crate::diagnostic::Diagnostic;

/// The deepest nesting of a file.
const DEEPEST: usize = 64;
/// Nodes that aliases of one file may stand for.
const COPIES: usize = 100_000;

/// A mistake and where it stands.
pub(super) type Located = (At, Diagnostic);

/// Reads the one document of a text; `None` where it holds nothing but comments.
pub(super) fn read(text: &str, source: u32) -> Result<Option<Rc<Node>>, Located> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    options.set_emit_comments(false);
    let mut builder =
        Builder { text, source, open: Vec::new(), anchors: Vec::new(), copies: 0, root: None, documents: 0 };
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => return Err(syntax::explain(text, source, &error)),
        }
    }
    Ok(builder.root)
}

/// A list or map that is not closed yet.
struct Frame {
    anchor: usize,
    start: usize,
    flow: bool,
    /// Nodes inside, copies by aliases included.
    weight: usize,
    content: Content,
    key: Option<(Rc<str>, At)>,
    /// Merge keys are applied when the map is closed, below what it says itself.
    merges: Vec<(At, Rc<Node>)>,
    seen: HashSet<Rc<str>>,
}

struct Builder<'a> {
    text: &'a str,
    source: u32,
    open: Vec<Frame>,
    /// By the parser's number: the node and its weight; `None` while it is open.
    anchors: Vec<Option<(Rc<Node>, usize)>>,
    copies: usize,
    root: Option<Rc<Node>>,
    documents: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Located> {
        let at = self.at(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((
                        at,
                        Diagnostic::error("a second document")
                            .hint("one file holds one document: remove the `---`"),
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = judge_tag(tag.as_deref(), at, true)?;
                if self.wants_key() {
                    return self.take_key(&text, is_text || style != ScalarStyle::Plain, at);
                }
                let content = match style {
                    ScalarStyle::Plain if !is_text => Content::Plain(text.as_ref().into()),
                    _ => Content::Text(text.as_ref().into()),
                };
                self.place(Node { at, content }, anchor, 1);
            }
            Event::SequenceStart(style, anchor, tag) => {
                judge_tag(tag.as_deref(), at, false)?;
                return self.enter(style, anchor, at, Content::List(Vec::new()));
            }
            Event::MappingStart(style, anchor, tag) => {
                judge_tag(tag.as_deref(), at, false)?;
                return self.enter(style, anchor, at, Content::Map(Vec::new()));
            }
            Event::SequenceEnd | Event::MappingEnd => return self.leave(at),
            Event::Alias(anchor) => return self.take_alias(anchor, at),
            _ => {}
        }
        Ok(())
    }

    fn at(&self, span: Span) -> At {
        let range = span.byte_range().unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "a file has at most a mebibyte")]
        let at = |byte: usize| byte.min(self.text.len()) as u32;
        At { source: self.source, start: at(range.start), end: at(range.end) }
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|frame| matches!(frame.content, Content::Map(_)) && frame.key.is_none())
    }

    fn take_key(&mut self, text: &str, quoted: bool, at: At) -> Result<(), Located> {
        if let Some(sort) = syntax::sort_of_plain(text).filter(|_| !quoted) {
            let message = format!("the key `{text}` is {sort}, and keys are text");
            return Err((at, Diagnostic::error(message).hint(format!("write `\"{text}\"`"))));
        }
        let Some(frame) = self.open.last_mut() else { return Ok(()) };
        let key: Rc<str> = text.into();
        if !frame.seen.insert(key.clone()) {
            let message = format!("the key `{text}` stands here twice");
            return Err((at, Diagnostic::error(message).hint("keep one of them")));
        }
        frame.key = Some((key, at));
        Ok(())
    }

    fn enter(
        &mut self,
        style: StructureStyle,
        anchor: usize,
        at: At,
        content: Content,
    ) -> Result<(), Located> {
        if self.wants_key() {
            let hint = "write `key: value`; a text that begins with `[`, `{` or `?` needs quotes";
            return Err((at, Diagnostic::error("a key is a list or a map, and keys are text").hint(hint)));
        }
        if self.open.len() >= DEEPEST {
            return Err((at, syntax::too_deep()));
        }
        self.open.push(Frame {
            anchor,
            start: at.start as usize,
            flow: style == StructureStyle::Flow,
            weight: 1,
            content,
            key: None,
            merges: Vec::new(),
            seen: HashSet::new(),
        });
        Ok(())
    }

    fn leave(&mut self, end: At) -> Result<(), Located> {
        let Some(mut frame) = self.open.pop() else { return Ok(()) };
        let last = if frame.flow { end.end } else { end.start };
        let text = &self.text[frame.start..(last as usize).max(frame.start)];
        #[expect(clippy::cast_possible_truncation, reason = "a file has at most a mebibyte")]
        let at = At {
            source: self.source,
            start: frame.start as u32,
            end: (frame.start + text.trim_end().len()) as u32,
        };
        if let Content::Map(entries) = &mut frame.content {
            merge(entries, &frame.merges, frame.seen)?;
        }
        self.place(Node { at, content: frame.content }, frame.anchor, frame.weight);
        Ok(())
    }

    fn take_alias(&mut self, anchor: usize, at: At) -> Result<(), Located> {
        if self.wants_key() {
            return Err((at, Diagnostic::error("an alias as a key").hint("write the key out")));
        }
        let Some((node, weight)) = self.anchors.get(anchor).cloned().flatten() else {
            let message = "an alias inside the very node that it stands for";
            return Err((at, Diagnostic::error(message).hint("quote a text that begins with `*`")));
        };
        self.copies = self.copies.saturating_add(weight);
        if self.copies > COPIES {
            let message = format!("the aliases of this file stand for more than {COPIES} values");
            return Err((at, Diagnostic::error(message).hint("write fewer of them, or split the file")));
        }
        self.attach(node, weight, at);
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize, weight: usize) {
        let (at, node) = (node.at, Rc::new(node));
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            self.anchors[anchor] = Some((node.clone(), weight));
        }
        self.attach(node, weight, at);
    }

    fn attach(&mut self, value: Rc<Node>, weight: usize, here: At) {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(value);
            return;
        };
        frame.weight = frame.weight.saturating_add(weight);
        match &mut frame.content {
            Content::List(list) => list.push(value),
            Content::Map(entries) => {
                if let Some((key, at)) = frame.key.take() {
                    if &*key == "<<" {
                        frame.merges.push((here, value));
                    } else {
                        entries.push(Entry { key, at, value });
                    }
                }
            }
            Content::Plain(_) | Content::Text(_) => {}
        }
    }
}

/// `!!str` makes text; any other tag is refused.
fn judge_tag(tag: Option<&Tag>, at: At, scalar: bool) -> Result<bool, Located> {
    match tag {
        None => Ok(false),
        Some(tag) if scalar && tag.core_suffix() == Some("str") => Ok(true),
        Some(tag) => {
            let message = format!("the tag `{}` is not part of job files", tag.original());
            let hint = "leave it out, or quote the value if it begins with `!`";
            Err((at, Diagnostic::error(message).hint(hint)))
        }
    }
}

/// Adds what `<<` brings and the map does not say itself; of several sources the first wins.
fn merge(
    entries: &mut Vec<Entry>,
    merges: &[(At, Rc<Node>)],
    mut seen: HashSet<Rc<str>>,
) -> Result<(), Located> {
    let wrong =
        |at: At| (at, Diagnostic::error("`<<` takes a map or a list of maps").hint("write `<<: *anchor`"));
    for (at, value) in merges {
        let sources = match &value.content {
            Content::List(list) => list.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for source in sources {
            for entry in source.entries().ok_or_else(|| wrong(*at))? {
                if seen.insert(entry.key.clone()) {
                    entries.push(entry.clone());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
