//! Answers of the socket in HAProxy's text formats. Every answer ends with a line's end. That of `show stat` is the
//! [CSV](super::csv).

use std::fmt::Write;

use health::CheckCode;
use wire::{Condition, Info, LifeState, RowKind, StatRow};

use super::columns::{Numbered, check_health, number};

/// `show info`: what there is to know of the process, as `Name: value` lines. The names are HAProxy's where it has them.
pub fn show_info(info: &Info, rows: &[StatRow]) -> String {
    let frontends = || rows.iter().filter(|row| row.kind == RowKind::Frontend);
    let sum = |of: fn(&StatRow) -> u64| frontends().map(of).sum::<u64>().to_string();
    let seconds = info.uptime_ms / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let uptime = format!("{days}d {hours}h{:02}m{:02}s", seconds / 60 % 60, seconds % 60);

    let mut lines: Vec<(&str, String)> = vec![
        ("Name", info.daemon.clone()),
        ("Version", info.version.clone()),
        ("Pid", info.pid.to_string()),
        ("Uptime", uptime),
        ("Uptime_sec", seconds.to_string()),
        ("CurrConns", sum(|row| row.sessions)),
        ("CumConns", sum(|row| row.sessions_total)),
        ("CumReq", sum(|row| row.requests)),
        ("ConnRate", sum(|row| row.rate)),
        ("MaxConnRate", sum(|row| row.rate_max)),
        ("ReqRate", sum(|row| row.request_rate)),
        ("Stopping", u8::from(info.state == LifeState::Stopping).to_string()),
        ("State", info.state.word().into()),
        ("Config", info.config.clone()),
        ("Config_generation", info.generation.to_string()),
    ];
    if let Some(error) = &info.reload_error {
        lines.push(("Reload_error", error.clone()));
    }
    lines.extend(info.details.iter().map(|(name, value)| (name.as_str(), value.clone())));

    let mut text = String::new();
    for (name, value) in lines {
        // A value of several lines would look like several values.
        _ = writeln!(text, "{name}: {}", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    text
}

/// `show backend`: the names of all backends.
pub fn show_backend(rows: &[StatRow]) -> String {
    let mut text = String::from("# name\n");
    for row in rows.iter().filter(|row| row.kind == RowKind::Backend) {
        _ = writeln!(text, "{}", row.proxy);
    }
    text
}

/// `show servers state [BACKEND]`: HAProxy's state file, format version 1. Fields that lbd has no notion of hold what
/// HAProxy writes when they are unset.
pub fn show_servers_state(rows: &[StatRow], backend: Option<&str>) -> String {
    let mut text = String::from(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
         srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
         srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port \
         srv_check_addr srv_agent_addr srv_agent_port\n",
    );
    for server in servers(rows, backend) {
        let row = server.row;
        let (address, port) = address(row);
        _ = writeln!(
            text,
            "{proxy_id} {proxy} {server_id} {name} {address} {op_state} {admin_state} {weight} {weight} {since} \
             {check_status} {check_result} {health} {check_state} 0 0 0 - {port} - 0 0 - - 0",
            proxy_id = server.proxy_id,
            proxy = row.proxy,
            server_id = server.server_id,
            name = row.name,
            op_state = op_state(row),
            admin_state = admin_state(row),
            weight = row.weight,
            since = row.since_ms / 1000,
            check_status = check_status(row),
            check_result = check_result(row),
            health = check_health(row),
            check_state = if row.check.is_some() { CHECK_CONFIGURED_AND_ENABLED } else { 0 },
        );
    }
    text
}

/// `show servers conn [BACKEND]`: connections to each server, in use and idle.
pub fn show_servers_conn(rows: &[StatRow], backend: Option<&str>) -> String {
    let mut text = String::from(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim \
         idle_cur\n",
    );
    for server in servers(rows, backend) {
        let row = server.row;
        let (address, port) = address(row);
        _ = writeln!(
            text,
            "{}/{} {}/{} {address} {port} - 0 {} {} {} 0 {idle} -1 {idle}",
            row.proxy,
            row.name,
            server.proxy_id,
            server.server_id,
            row.sessions,
            row.sessions_max,
            row.sessions,
            idle = row.idle,
        );
    }
    text
}

fn servers<'a>(rows: &'a [StatRow], backend: Option<&str>) -> impl Iterator<Item = Numbered<'a>> {
    number(rows).into_iter().filter(move |n| {
        n.row.kind == RowKind::Server && backend.is_none_or(|backend| n.row.proxy == backend)
    })
}

/// Address and port of a server; `-` and 0 while its name does not resolve.
fn address(row: &StatRow) -> (&str, &str) {
    let (host, port) = row.address.rsplit_once(':').unwrap_or(("-", "0"));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// HAProxy's `SRV_ST_*`.
fn op_state(row: &StatRow) -> u8 {
    const STOPPED: u8 = 0;
    const RUNNING: u8 = 2;
    match Condition::of(&row.status) {
        condition if condition.is_usable() => RUNNING,
        // A drained server still runs: what keeps requests away is its administrative state.
        Condition::Drain => RUNNING,
        _ => STOPPED,
    }
}

/// HAProxy's `SRV_ADMF_*`: what the operator forced.
fn admin_state(row: &StatRow) -> u8 {
    const FORCED_MAINT: u8 = 0x01;
    const FORCED_DRAIN: u8 = 0x08;
    match Condition::of(&row.status) {
        Condition::Maint => FORCED_MAINT,
        Condition::Drain => FORCED_DRAIN,
        _ => 0,
    }
}

/// HAProxy's `HCHK_STATUS_*`.
fn check_status(row: &StatRow) -> u8 {
    match row.check.as_ref().map_or(CheckCode::Ini, |check| check.code) {
        CheckCode::Ini => 1,
        CheckCode::SockErr => 5,
        CheckCode::L4Ok => 6,
        CheckCode::L4Tout => 7,
        CheckCode::L4Con => 8,
        CheckCode::L6Ok => 9,
        CheckCode::L6Tout => 10,
        CheckCode::L6Rsp => 11,
        CheckCode::L7Tout => 12,
        CheckCode::L7Rsp => 13,
        CheckCode::L7Ok => 15,
        CheckCode::L7Sts => 17,
    }
}

/// HAProxy's `CHK_RES_*`.
fn check_result(row: &StatRow) -> u8 {
    const UNKNOWN: u8 = 0;
    const FAILED: u8 = 2;
    const PASSED: u8 = 3;
    match &row.check {
        None => UNKNOWN,
        Some(check) if check.code == CheckCode::Ini => UNKNOWN,
        Some(check) if check.code.is_good() => PASSED,
        Some(_) => FAILED,
    }
}

/// HAProxy's `CHK_ST_CONFIGURED | CHK_ST_ENABLED`.
const CHECK_CONFIGURED_AND_ENABLED: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn info_is_one_value_a_line() {
        let info = Info { reload_error: Some("lb.yaml:3:1: error\n  help".into()), ..sample::info() };
        insta::assert_snapshot!(show_info(&info, &sample::rows()));
    }

    #[test]
    fn states_connections_and_backends() {
        let rows = sample::rows();
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}",
            show_servers_state(&rows, None),
            show_servers_conn(&rows, Some("nginx")),
            show_backend(&rows)
        ));
    }

    #[test]
    fn state_lines_have_a_field_for_every_name() {
        let text = show_servers_state(&sample::rows(), None);
        let names = text.lines().nth(1).unwrap().split(' ').count() - 1;
        assert_eq!(names, 25);
        for line in text.lines().skip(2) {
            assert_eq!(line.split(' ').count(), names, "{line}");
        }
    }

    #[test]
    fn an_empty_site_has_headers_only() {
        assert_eq!(show_backend(&[]), "# name\n");
        assert_eq!(show_servers_state(&[], Some("x")).lines().count(), 2);
    }
}
