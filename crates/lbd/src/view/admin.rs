//! The paths of lbd's admin HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::routing::get;
use daemon::admin::{self, Shown};
use daemon::metrics::{self, Exposition};
use wire::{Answer, Document};

use super::metrics::families::FAMILIES;
use super::page::{self, View};
use super::{csv, json};
use crate::control::control_socket::Control;
use crate::control::stats;

/// The page, the statistics as CSV and JSON, and what every daemon has.
///
/// # Errors
/// When a metric's name is taken twice or is none; a test keeps that from happening.
pub fn router(control: &Arc<Control>) -> prometheus::Result<Router> {
    let sampled = control.clone();
    let metrics = Exposition::new(metrics::registry("lbd")?, FAMILIES, move || sampled.sample());
    let (for_csv, for_json) = (control.clone(), control.clone());
    Ok(admin::router(control, metrics, &["/;csv", "/;json"])
        .route(
            "/;csv",
            get(move || async move { (plain("text/plain; charset=utf-8"), csv::render(&for_csv.rows())) }),
        )
        .route(
            "/;json",
            get(move || async move { (plain("application/json"), json::render(&for_json.rows())) }),
        ))
}

impl Shown for Control {
    fn ready(&self) -> Result<(), String> {
        Control::ready(self)
    }

    fn page(&self) -> String {
        let (info, rows, routes, certificates) =
            (self.info(), self.rows(), self.routes(), self.certificates());
        page::render(&View {
            info: &info,
            rows: &rows,
            routes: &routes,
            certificates: &certificates,
            healthd: self.healthd(),
            now: stats::now(),
        })
    }

    fn document(&self) -> Document {
        Document { info: self.info(), about: Answer::Stat(self.rows()), anycast: Vec::new() }
    }
}

fn plain(content_type: &'static str) -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, content_type)]
}
