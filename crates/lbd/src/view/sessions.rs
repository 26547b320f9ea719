//! Client connections, as text.

use std::fmt::Write as _;

use crate::control::sessions::Listed;
use crate::shared::sessions::{Carried, SessionRow};

/// `show sess [BACKEND[/SERVER]]`: one line for each, ages in ms; `-` for what does not apply.
pub fn show_sessions(listed: &Listed) -> String {
    let mut text = String::from("# id frontend client server age_ms idle_ms bytes_in bytes_out\n");
    for SessionRow { id, frontend, client, server, age, carried } in &listed.rows {
        let server = server.as_deref().unwrap_or("-");
        _ = write!(text, "{id} {frontend} {client} {server} {} ", age.as_millis());
        _ = match carried {
            Some(Carried { bytes_in, bytes_out, idle }) => {
                writeln!(text, "{} {bytes_in} {bytes_out}", idle.as_millis())
            }
            None => writeln!(text, "- - -"),
        };
    }
    if listed.more > 0 {
        _ = writeln!(text, "# and {} more", listed.more);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shared::sessions::SessionId;

    #[test]
    fn sessions_are_listed_and_what_is_left_out_is_told() {
        let row = |number, server: Option<&str>, carried| SessionRow {
            id: SessionId { worker: 1, number },
            frontend: "db".to_owned(),
            client: ([192, 0, 2, 7], 4000).into(),
            server: server.map(str::to_owned),
            age: Duration::from_millis(1500),
            carried,
        };
        let carried = Carried { bytes_in: 12, bytes_out: 3456, idle: Duration::from_millis(20) };
        let rows = vec![row(3, Some("pg/a"), Some(carried)), row(4, None, None)];
        assert_eq!(
            show_sessions(&Listed { rows, more: 5 }),
            "# id frontend client server age_ms idle_ms bytes_in bytes_out\n\
             1-3 db 192.0.2.7:4000 pg/a 1500 20 12 3456\n\
             1-4 db 192.0.2.7:4000 - 1500 - - -\n\
             # and 5 more\n"
        );
    }
}
