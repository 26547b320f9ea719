//! HAProxy's statistics as comma-separated values: `/;csv` on the admin port, `show stat` on the socket.
//!
//! As in HAProxy the first line begins with `# `, and every line ends with a comma.

use std::fmt::Write;

use wire::StatRow;

use super::columns::{COLUMNS, Value, number};

/// The media type that HAProxy serves it with, so that browsers show it.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// The header line and one line for each row, in the order of `rows`.
pub fn render(rows: &[StatRow]) -> String {
    let mut csv = String::from("# ");
    for column in &COLUMNS {
        csv.push_str(column.name);
        csv.push(',');
    }
    csv.push('\n');
    for row in number(rows) {
        for column in &COLUMNS {
            match (column.value)(&row) {
                Value::Empty => {}
                // Writing to a string cannot fail.
                Value::Number(n) => _ = write!(csv, "{n}"),
                Value::Never => csv.push_str("-1"),
                Value::Text(text) => push_quoted(&mut csv, text),
            }
            csv.push(',');
        }
        csv.push('\n');
    }
    csv
}

/// Appends a field; one with a comma, a quote or a line's end in quotes, with its own quotes doubled (RFC 4180, 2).
fn push_quoted(csv: &mut String, text: &str) {
    if text.contains([',', '"', '\n', '\r']) {
        csv.push('"');
        csv.push_str(&text.replace('"', "\"\""));
        csv.push('"');
    } else {
        csv.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    /// The columns as HAProxy 2.6 prints them, up to `algo`.
    const HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
        wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,\
        rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,\
        hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,\
        lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,\
        agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,";

    #[test]
    fn the_columns_are_haproxys() {
        assert_eq!(render(&[]).trim_end(), HEADER);
    }

    #[test]
    fn rows_of_every_kind() {
        insta::assert_snapshot!(render(&sample::rows()));
    }

    #[test]
    fn every_line_has_every_column_whatever_the_text() {
        let mut row = sample::rows().swap_remove(1);
        row.reason = "a \"quoted\", long\nreason".into();
        row.check = None;
        let csv = render(&[row]);
        assert!(csv.contains(",\"a \"\"quoted\"\", long\nreason\","), "{csv}");
        for line in render(&sample::rows()).lines() {
            // Every other piece lies between quotes.
            let commas: usize = line.split('"').step_by(2).map(|piece| piece.matches(',').count()).sum();
            assert_eq!(commas, COLUMNS.len(), "{line}");
        }
    }
}
