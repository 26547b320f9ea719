//! The text of a file as a tree in which everything knows its place.

mod syntax;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::read::{Report, quoted};

/// How deep values may be nested. `lb.yaml` itself needs six levels.
const MAX_DEPTH: usize = 32;
/// What the whole tree may cost, aliases expanded, counted as in [`Node::cost`].
const MAX_COST: usize = 16 * 1024 * 1024;

/// A place in the text, counted in lines and characters from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    /// The line.
    pub(crate) line: usize,
    /// The character in the line.
    pub(crate) column: usize,
}

impl From<Marker> for Mark {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it starts.
    pub(crate) at: Mark,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// What a missing variable stands for. That has been reported, and no reader has anything to add.
    Unknown,
    /// Text, a number, a word: it is for the reader to say which.
    Scalar(String),
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `a: b` or `{a: b}`, without duplicates.
    Map(Vec<Entry>),
}

/// One key of a mapping, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where the key starts.
    pub(crate) at: Mark,
    /// The key.
    pub(crate) key: String,
    /// The value.
    pub(crate) value: Node,
}

impl Entry {
    /// Where the entry is best shown: at the value, or at the name of a mapping, whose first line may be far away.
    pub(crate) fn shown_at(&self) -> Mark {
        if matches!(self.value.kind, Kind::Map(_)) { self.at } else { self.value.at }
    }
}

impl Node {
    /// What stands at the end of a path of keys and, in lists, of indices; and where it is best shown.
    fn find(&self, path: &[&str]) -> Result<(Mark, &Self), Mark> {
        let mut found = (self.at, self);
        for step in path {
            found = match &found.1.kind {
                Kind::Map(entries) => {
                    let entry = entries.iter().find(|entry| entry.key == *step).ok_or(found.0)?;
                    (entry.shown_at(), &entry.value)
                }
                Kind::List(items) => {
                    let item =
                        step.parse::<usize>().ok().and_then(|index| items.get(index)).ok_or(found.0)?;
                    (item.at, item)
                }
                Kind::Null | Kind::Unknown | Kind::Scalar(_) => return Err(found.0),
            };
        }
        Ok(found)
    }

    /// Where that stands, as near as the file has it.
    pub(crate) fn mark(&self, path: &[&str]) -> Mark {
        self.find(path).map_or_else(|nearest| nearest, |(mark, _)| mark)
    }

    /// Whether it stands in the file.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        self.find(path).is_ok()
    }

    /// Whether something in it is not known.
    pub(crate) fn is_unknown(&self) -> bool {
        match &self.kind {
            Kind::Unknown => true,
            Kind::Null | Kind::Scalar(_) => false,
            Kind::List(items) => items.iter().any(Self::is_unknown),
            Kind::Map(entries) => entries.iter().any(|entry| entry.value.is_unknown()),
        }
    }

    /// Memory in bytes, roughly: what an alias costs each time it is expanded.
    fn cost(&self) -> usize {
        const NODE: usize = 32;
        NODE + match &self.kind {
            Kind::Null | Kind::Unknown => 0,
            Kind::Scalar(text) => text.len(),
            Kind::List(items) => items.iter().map(Self::cost).sum(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.cost()).sum(),
        }
    }

    /// Levels of lists and mappings, from zero for a scalar.
    fn depth(&self) -> usize {
        match &self.kind {
            Kind::Null | Kind::Unknown | Kind::Scalar(_) => 0,
            Kind::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0),
        }
    }
}

/// The file's one document; none, with the reason reported, where it cannot be understood.
pub(crate) fn tree(text: &str, report: &Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { report, open: Vec::new(), anchors: HashMap::new(), cost: 0, root: None };
    let mut documents = 0_usize;
    for event in Parser::new_from_str(text) {
        let step = match event {
            Err(error) => {
                let (mark, message) = syntax::explain(&error, text, builder.open.last().map(|open| open.at));
                Err(Stop { at: mark, message })
            }
            Ok((Event::DocumentStart(_), span)) if documents == 1 => Err(Stop {
                at: span.start.into(),
                message: "a second document starts here; put everything into one and remove the \"---\""
                    .to_owned(),
            }),
            Ok((Event::DocumentStart(_), _)) => {
                documents += 1;
                Ok(())
            }
            Ok((event, span)) => builder.take(event, span.start.into()),
        };
        if let Err(Stop { at, message }) = step {
            let message =
                syntax::bare_brackets(text, at.line).map_or(message, |_| syntax::BRACKETS.to_owned());
            report.error(at, message);
            return None;
        }
    }
    match builder.root {
        Some(Node { kind: Kind::Null, .. }) | None => {
            report.error(
                Mark { line: 1, column: 1 },
                format!("the file is empty; it needs {}", report.needs()),
            );
            None
        }
        root => root,
    }
}

/// Why reading cannot go on.
struct Stop {
    at: Mark,
    message: String,
}

/// Turns the parser's events into a tree, within bounds.
struct Builder<'r> {
    report: &'r Report,
    open: Vec<Open>,
    /// What an alias stands for: only what is complete, so that nothing contains itself.
    anchors: HashMap<usize, Node>,
    cost: usize,
    root: Option<Node>,
}

/// A list or mapping whose end has not come yet.
struct Open {
    at: Mark,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Key },
}

/// What a mapping waits for.
enum Key {
    /// A key.
    Missing,
    /// The value of this key.
    Given(Mark, String),
    /// The value of a key that was refused.
    Refused,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar(text.into_owned()) };
                self.complete(Node { at, kind }, anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                None => {
                    Err(Stop { at, message: "this alias stands for something that contains it".to_owned() })
                }
                Some(node) if self.open.len() + node.depth() > MAX_DEPTH => Err(too_deep(at)),
                Some(node) => {
                    let cost = node.cost();
                    let node = self.affordable(cost, at).map(|()| node.clone())?;
                    self.cost += cost;
                    self.place(node)
                }
            },
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(at, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(
                    at,
                    anchor,
                    Content::Map { entries: Vec::new(), lines: HashMap::new(), key: Key::Missing },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                None => Ok(()),
                Some(Open { at, anchor, content }) => {
                    let kind = match content {
                        Content::List(items) => Kind::List(items),
                        Content::Map { entries, .. } => Kind::Map(entries),
                    };
                    self.complete(Node { at, kind }, anchor)
                }
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Mark, anchor: usize, content: Content) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.open.push(Open { at, anchor, content });
        Ok(())
    }

    /// Takes a node whose end has come.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        // The content of lists and mappings has been counted, unless it is kept for an alias too.
        let cost = if anchor > 0 { node.cost() } else { 0 }
            + match &node.kind {
                Kind::Scalar(_) | Kind::Null | Kind::Unknown => node.cost(),
                Kind::List(_) | Kind::Map(_) => 0,
            };
        self.affordable(cost, node.at)?;
        self.cost += cost;
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    fn affordable(&self, cost: usize, at: Mark) -> Result<(), Stop> {
        if self.cost.saturating_add(cost) <= MAX_COST {
            return Ok(());
        }
        Err(Stop { at, message: "too much content, counting what aliases stand for".to_owned() })
    }

    /// Puts a node where it belongs: into the innermost list or mapping, as a key or as a value.
    fn place(&mut self, node: Node) -> Result<(), Stop> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, lines, key }) => {
                *key = match std::mem::replace(key, Key::Missing) {
                    Key::Missing => new_key(node, lines, self.report)?,
                    Key::Refused => Key::Missing,
                    Key::Given(at, key) => {
                        // Nothing has no place of its own: it is missing after its key.
                        let at_value = if matches!(node.kind, Kind::Null) { at } else { node.at };
                        entries.push(Entry { at, key, value: Node { at: at_value, ..node } });
                        Key::Missing
                    }
                };
            }
        }
        Ok(())
    }

    fn refuse_tag(&self, tag: Option<&Tag>, at: Mark) {
        if tag.is_some() {
            self.report.error(at, "tags (\"!...\") mean nothing here; leave it out");
        }
    }
}

fn new_key(node: Node, lines: &mut HashMap<String, usize>, report: &Report) -> Result<Key, Stop> {
    let Node { at, kind } = node;
    let key = match kind {
        Kind::Scalar(key) => key,
        Kind::Null | Kind::Unknown => {
            return Err(Stop { at, message: "a key is missing before the \":\"".to_owned() });
        }
        Kind::List(_) | Kind::Map(_) => {
            return Err(Stop {
                at,
                message: "a key must be a single word, not a list or mapping; for a text in braces, quote it"
                    .to_owned(),
            });
        }
    };
    if key == "<<" {
        report.error(
            at,
            "merge keys (\"<<\") are not supported; write the keys out, or use an alias for a whole value",
        );
        return Ok(Key::Refused);
    }
    match lines.entry(key) {
        Slot::Vacant(slot) => {
            let key = slot.key().clone();
            slot.insert(at.line);
            Ok(Key::Given(at, key))
        }
        Slot::Occupied(slot) => {
            report.error(
                at,
                format!("duplicate key {}; it was first given on line {}", quoted(slot.key()), slot.get()),
            );
            Ok(Key::Refused)
        }
    }
}

fn too_deep(at: Mark) -> Stop {
    Stop { at, message: format!("nested more than {MAX_DEPTH} levels deep") }
}
