//! Connections that end by a reset: what was said before it arrives, and the reset itself whatever came before. And those
//! that begin where another has just ended, or end with their container.

use std::time::Duration;

use crate::cases;
use crate::host::{HOST, Host, OUTSIDE};
use crate::process::pause;
use crate::verdict::{Outcome, same};

cases![
    an_answer_before_a_reset_reaches_the_client_of_a_published_port,
    an_answer_before_a_reset_reaches_the_container,
    a_line_before_a_reset_reaches_the_container,
    a_reset_after_the_hosts_end_reaches_the_container,
    a_client_that_comes_again_from_its_port_is_served,
    a_containers_last_words_arrive_although_it_has_gone,
];

fn an_answer_before_a_reset_reaches_the_client_of_a_published_port(host: &Host) -> Outcome {
    let server = host.peer("refusing-server 0.0.0.0 7000");
    host.container("-p 8080:7000", "server", &server, "ready")?;
    let said = host
        .outside(&host.peer(&format!("refused-client {HOST} 8080 20")))?
        .ok()?;
    same("answer", said.as_str(), "2003 ECONNRESET")
}

fn an_answer_before_a_reset_reaches_the_container(host: &Host) -> Outcome {
    let _server = host.outside_server("server", "refusing-server 0.0.0.0 7000")?;
    let client = host.peer(&format!("refused-client {OUTSIDE} 7000 20"));
    let said = host.gangplank(&format!("run --rm -- {client}"))?.ok()?;
    same("answer", said.as_str(), "2003 ECONNRESET")
}

fn a_line_before_a_reset_reaches_the_container(host: &Host) -> Outcome {
    let server = host.peer("greeting-server 0.0.0.0 7000 20");
    host.container("-p 8080:7000", "server", &server, "ready")?;
    host.outside(&host.peer(&format!("hasty-client {HOST} 8080 20")))?
        .ok()?;
    host.logged("server", "heard 20")
}

fn a_reset_after_the_hosts_end_reaches_the_container(host: &Host) -> Outcome {
    let _server = host.outside_server("server", "finishing-server 0.0.0.0 7000 0.5")?;
    let client = host.peer(&format!("finished-client {OUTSIDE} 7000"));
    let said = host.gangplank(&format!("run --rm -- {client}"))?.ok()?;
    same("after the end", said.as_str(), "reset")
}

/// The container's kernel is in TIME-WAIT each time.
fn a_client_that_comes_again_from_its_port_is_served(host: &Host) -> Outcome {
    let server = host.peer("welcome-server 0.0.0.0 7000");
    host.container("-p 8080:7000", "server", &server, "ready")?;
    let client = host.peer(&format!("same-port-client {HOST} 8080 42000 30"));
    let said = host.outside(&client)?.ok()?;
    same("answered", said.as_str(), "right 30")
}

/// They wait in the queue of the uplink while the helper is held up, and so does the news of its end.
fn a_containers_last_words_arrive_although_it_has_gone(host: &Host) -> Outcome {
    let server = host.outside_server("server", "hearing-server 0.0.0.0 7000")?;
    let client = host.peer(&format!("last-words {OUTSIDE} 7000 1 farewell"));
    host.container("", "box", &client, "ready")?;
    let helper = host.network("helper_pid")?;
    host.root(&format!("kill -STOP {helper}"))?.ok()?;
    pause(Duration::from_secs(3));
    host.root(&format!("kill -CONT {helper}"))?.ok()?;
    server.says("heard farewell EOF")
}
