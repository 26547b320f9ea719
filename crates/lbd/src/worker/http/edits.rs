//! What becomes of the heads of the requests that take one route to one backend, and of their responses.

use std::rc::Rc;

use config::RequestId;
use edit::{
    Context, FieldEdits, Placeholder, Refused, RequestEditor, RequestEdits, ResponseEditor, Template,
};

use crate::worker::failure::Failure;

/// The edits of a frontend, a route and a backend, put together.
#[derive(Debug)]
pub(crate) struct Edits {
    pub(crate) request: Option<RequestEditor>,
    pub(crate) response: Option<ResponseEditor>,
    /// Whether some value is what the request is known by.
    pub(crate) names_request: bool,
}

impl Edits {
    /// None where nothing is edited. A response meets the places in the opposite order.
    pub(crate) fn new(id: Option<&RequestId>, places: [Option<&config::Edits>; 3]) -> Option<Rc<Self>> {
        let told = id.map(|id| {
            let set = vec![(id.field.clone(), Template::of(Placeholder::RequestId))];
            RequestEdits { fields: FieldEdits { set, ..FieldEdits::default() }, ..RequestEdits::default() }
        });
        let places = places.into_iter().flatten();
        let requests: Vec<_> = told
            .iter()
            .chain(places.clone().map(|edits| &edits.request))
            .filter(|edits| !edits.is_empty())
            .collect();
        let responses: Vec<_> =
            places.map(|edits| &edits.response).rev().filter(|edits| !edits.is_empty()).collect();
        if requests.is_empty() && responses.is_empty() {
            return None;
        }
        let names_request = requests.iter().any(|edits| edits.uses(Placeholder::RequestId))
            || responses.iter().any(|edits| edits.uses(Placeholder::RequestId));
        Some(Rc::new(Self {
            request: (!requests.is_empty()).then(|| RequestEditor::new(requests)),
            response: (!responses.is_empty()).then(|| ResponseEditor::new(responses)),
            names_request,
        }))
    }
}

/// The edits of one response.
#[derive(Debug)]
pub(crate) struct ResponseEdits<'a> {
    pub(crate) editor: &'a ResponseEditor,
    pub(crate) context: Context<'a>,
}

impl ResponseEdits<'_> {
    /// Edits a head that is to be sent; `room` is left with what it was before.
    pub(crate) fn apply(&self, head: &mut Vec<u8>, room: &mut Vec<u8>) -> Result<(), Failure> {
        self.editor.apply(head, &self.context, room).map_err(|_| Failure::EditedResponse)?;
        std::mem::swap(head, room);
        Ok(())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge => Self::EditedRequest,
            Refused::AmbiguousPath => Self::AmbiguousPath,
        }
    }
}
