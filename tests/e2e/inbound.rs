//! Published ports: what a client of the host reaches, and whom the container sees.

use crate::cases;
use crate::host::{CLIENT, HOST, Host, OUTSIDE};
use crate::process::{PATIENCE, SOON, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    curl_fetches_http_server_and_its_log_shows_the_client,
    a_loopback_client_appears_as_the_gateway,
    published_udp_keeps_the_clients_address,
    a_burst_of_datagrams_to_a_published_port,
    hostport_and_containerport,
    an_address_binds_only_there,
    a_container_port_alone_gets_an_automatic_port,
    an_address_with_an_automatic_port,
    an_ipv6_address_in_brackets,
    udp_and_tcp_of_one_number,
    an_automatic_port_is_one_number_for_both_families_and_held,
    automatic_ports_differ,
    expose_publishes_nothing_and_capital_p_publishes_what_is_exposed,
    publish_and_unpublish_at_run_time,
    publish_says_what_it_publishes_and_capital_p_is_over,
    a_published_port_without_a_server_refuses,
    another_container_reaches_it_at_the_hosts_address,
    half_close_through_a_published_port,
    a_client_that_resets_resets_the_container,
];

pub(crate) fn curl_fetches_http_server_and_its_log_shows_the_client(host: &Host) -> Outcome {
    web(host, "-p 8080:80")?;
    let page = host
        .outside(&format!(
            "curl -sS --max-time 10 --interface {CLIENT} http://{HOST}:8080/"
        ))?
        .ok()?;
    contains("the page", &page, "Directory listing")?;
    host.logged("web", &format!("{CLIENT} - - ["))
}

fn a_loopback_client_appears_as_the_gateway(host: &Host) -> Outcome {
    web(host, "-p 8080:80")?;
    host.user("curl -sS --max-time 10 http://127.0.0.1:8080/")?.ok()?;
    let gateway = host.inspect("web", "{{.NetworkSettings.Gateway}}")?;
    host.logged("web", &format!("{gateway} - - ["))?;
    host.user("curl -sS --max-time 10 http://[::1]:8080/from-six")?.ok()?;
    host.logged("web", "GET /from-six")
}

pub(crate) fn published_udp_keeps_the_clients_address(host: &Host) -> Outcome {
    host.container("-p 9000:9001/udp", "echo", &host.peer("udp-echo 0.0.0.0 9001"), "ready")?;
    let said = host
        .outside(&host.peer(&format!("udp-ask {CLIENT} 4567 {HOST} 9000")))?
        .ok()?;
    same("answers", said.matches("right").count(), 4)?;
    host.logged("echo", &format!("from {CLIENT} 4567 "))
}

fn a_burst_of_datagrams_to_a_published_port(host: &Host) -> Outcome {
    host.container("-p 9000:9001/udp", "echo", &host.peer("udp-echo 0.0.0.0 9001"), "ready")?;
    let said = host.outside(&host.peer(&format!("udp-burst {HOST} 9000")))?.ok()?;
    same("echoed", said.as_str(), "whole 21")
}

fn hostport_and_containerport(host: &Host) -> Outcome {
    echo(host, "-p 8080:7000")?;
    same(
        "port",
        host.gangplank("port echo")?.ok()?.as_str(),
        "7000/tcp -> 0.0.0.0:8080\n7000/tcp -> [::]:8080",
    )?;
    answers(host, "127.0.0.1", "8080")?;
    answers(host, "::1", "8080")?;
    answers(host, HOST, "8080")
}

fn an_address_binds_only_there(host: &Host) -> Outcome {
    echo(host, "-p 127.0.0.1:8080:7000")?;
    same(
        "port",
        host.gangplank("port echo")?.ok()?.as_str(),
        "7000/tcp -> 127.0.0.1:8080",
    )?;
    answers(host, "127.0.0.1", "8080")?;
    refuses(host, "::1", "8080")?;
    refuses(host, HOST, "8080")?;
    let outside = host.outside(&host.peer(&format!("connect {HOST} 8080")))?.ok()?;
    contains("from outside", &outside, "ECONNREFUSED")
}

fn a_container_port_alone_gets_an_automatic_port(host: &Host) -> Outcome {
    echo(host, "-p 7000")?;
    let port = automatic(host, "0.0.0.0")?;
    same(
        "port",
        host.gangplank("port echo 7000")?.ok()?,
        format!("0.0.0.0:{port}\n[::]:{port}"),
    )?;
    answers(host, "127.0.0.1", &port)?;
    answers(host, "::1", &port)
}

fn an_address_with_an_automatic_port(host: &Host) -> Outcome {
    echo(host, "-p 127.0.0.1::7000")?;
    let port = automatic(host, "127.0.0.1")?;
    same(
        "port",
        host.gangplank("port echo 7000")?.ok()?,
        format!("127.0.0.1:{port}"),
    )?;
    answers(host, "127.0.0.1", &port)?;
    refuses(host, HOST, &port)
}

fn an_ipv6_address_in_brackets(host: &Host) -> Outcome {
    echo(host, "-p [::1]:8080:7000")?;
    same(
        "port",
        host.gangplank("port echo")?.ok()?.as_str(),
        "7000/tcp -> [::1]:8080",
    )?;
    answers(host, "::1", "8080")?;
    refuses(host, "127.0.0.1", "8080")
}

fn udp_and_tcp_of_one_number(host: &Host) -> Outcome {
    echo(host, "-p 9000:7000 -p 9000:7000/udp")?;
    let ports = host.gangplank("port echo")?.ok()?;
    for line in [
        "7000/tcp -> 0.0.0.0:9000",
        "7000/udp -> 0.0.0.0:9000",
        "7000/udp -> [::]:9000",
    ] {
        contains("port", &ports, line)?;
    }
    same(
        "port 7000/udp",
        host.gangplank("port echo 7000/udp")?.ok()?.as_str(),
        "0.0.0.0:9000\n[::]:9000",
    )?;
    answers(host, "127.0.0.1", "9000")
}

fn an_automatic_port_is_one_number_for_both_families_and_held(host: &Host) -> Outcome {
    // Nothing listens in the container: the host's port is held all the same.
    host.gangplank("run -d --name idle -p 80 -p 53/udp -- sleep 100")?
        .ok()?;
    for (kind, hold) in [("80/tcp", "hold-tcp"), ("53/udp", "hold-udp")] {
        let bound = host.gangplank(&format!("port idle {kind}"))?.ok()?;
        let ports: Vec<&str> = bound
            .lines()
            .filter_map(|line| line.rsplit_once(':'))
            .map(|(_, port)| port)
            .collect();
        let [four, six] = ports.as_slice() else {
            fail!("two lines for {kind}: {bound}")
        };
        same(format!("{kind}: one number"), four, six)?;
        for address in ["0.0.0.0", "::"] {
            let said = host.user(&host.peer(&format!("{hold} {address} {four}")))?.ok()?;
            same(format!("{kind}: {address}:{four} is held"), said.as_str(), "EADDRINUSE")?;
        }
    }
    Ok(())
}

fn automatic_ports_differ(host: &Host) -> Outcome {
    let mut ports = Vec::new();
    for name in ["one", "two", "three"] {
        host.gangplank(&format!("run -d --name {name} -p 80 -- sleep 100"))?
            .ok()?;
        ports.push(host.inspect(
            name,
            r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#,
        )?);
    }
    ports.sort();
    ports.dedup();
    same("three numbers", ports.len(), 3)
}

fn expose_publishes_nothing_and_capital_p_publishes_what_is_exposed(host: &Host) -> Outcome {
    host.gangplank("run -d --name quiet --expose 7000 -- sleep 100")?.ok()?;
    same("port", host.gangplank("port quiet")?.ok()?.as_str(), "")?;
    contains("ps", &host.gangplank("ps")?.ok()?, "7000/tcp")?;
    host.container("-P --expose 7000", "echo", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    let port = automatic(host, "0.0.0.0")?;
    answers(host, "127.0.0.1", &port)
}

fn publish_says_what_it_publishes_and_capital_p_is_over(host: &Host) -> Outcome {
    host.gangplank("run -d --name box -P --expose 80 -- sleep 100")?.ok()?;
    let automatic = host.gangplank("port box 80")?.ok()?;
    let port = automatic.lines().next().and_then(|line| line.rsplit_once(':'));
    let Some((_, port)) = port else {
        fail!("one port: {automatic}")
    };
    host.gangplank(&format!("unpublish box {port}:80"))?.ok()?;
    let bound = host.gangplank("publish box 127.0.0.1:9000:90")?.ok()?;
    same("publish", bound.as_str(), "90/tcp -> 127.0.0.1:9000")?;
    same(
        "port",
        host.gangplank("port box")?.ok()?.as_str(),
        "90/tcp -> 127.0.0.1:9000",
    )
}

fn publish_and_unpublish_at_run_time(host: &Host) -> Outcome {
    host.container("", "echo", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    refuses(host, "127.0.0.1", "8080")?;
    let told = host.gangplank("publish echo 8080:7000")?.ok()?;
    same("told", told.as_str(), "7000/tcp -> 0.0.0.0:8080\n7000/tcp -> [::]:8080")?;
    answers(host, "127.0.0.1", "8080")?;
    host.gangplank("publish echo 127.0.0.1:8081:7000")?.ok()?;
    answers(host, "127.0.0.1", "8081")?;
    host.gangplank("unpublish echo 8080:7000")?.ok()?;
    refuses(host, "127.0.0.1", "8080")?;
    answers(host, "127.0.0.1", "8081")?;
    same(
        "port",
        host.gangplank("port echo")?.ok()?.as_str(),
        "7000/tcp -> 127.0.0.1:8081",
    )?;
    host.gangplank("unpublish echo 8080:7000")?.refused(&["8080"])
}

/// The client must not see a connection that is accepted and then closed as if the server had answered with nothing.
fn a_published_port_without_a_server_refuses(host: &Host) -> Outcome {
    host.gangplank("run -d --name idle -p 8080:80 -- sleep 100")?.ok()?;
    let held = host.user(&host.peer("hold-tcp 0.0.0.0 8080"))?.ok()?;
    same("the host's port", held.as_str(), "EADDRINUSE")?;
    let curl = host.user("curl -sS --max-time 5 http://127.0.0.1:8080/")?;
    holds("curl is told at once", curl.took < SOON)?;
    holds("curl sees a reset or a refusal (7, 56)", [7, 56].contains(&curl.code))
}

/// From inside, the host's address leads to the host, and from there back in.
fn another_container_reaches_it_at_the_hosts_address(host: &Host) -> Outcome {
    host.container("-p 8080:7000", "tcp", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    host.container("-p 9000:9001/udp", "udp", &host.peer("udp-echo 0.0.0.0 9001"), "ready")?;
    let inside = |peer: &str| host.gangplank(&format!("run --rm -- {}", host.peer(peer)))?.ok();
    same(
        "tcp",
        inside(&format!("tcp-ask {HOST} 8080 hello"))?.as_str(),
        "answer hello",
    )?;
    let said = inside(&format!("udp-ask 0.0.0.0 5000 {HOST} 9000"))?;
    same("udp", said.matches("right").count(), 4)
}

fn half_close_through_a_published_port(host: &Host) -> Outcome {
    host.container(
        "-p 8080:7000",
        "digest",
        &host.peer("digest-server 0.0.0.0 7000"),
        "ready",
    )?;
    let said = host.outside(&host.peer(&format!("tcp-ask {HOST} 8080 hello")))?.ok()?;
    contains("the answer after our FIN", &said, "answer 5 2cf24dba")
}

fn a_client_that_resets_resets_the_container(host: &Host) -> Outcome {
    host.container(
        "-p 8080:7000",
        "server",
        &host.peer("read-error-server 0.0.0.0 7000"),
        "ready",
    )?;
    host.outside(&host.peer(&format!("reset-client {HOST} 8080")))?.ok()?;
    host.logged("server", "ended by ECONNRESET")?;
    let _server = host.outside_server("reset", "reset-server 0.0.0.0 7000")?;
    let said = host
        .gangplank(&format!(
            "exec server -- {}",
            host.peer(&format!("read-error {OUTSIDE} 7000"))
        ))?
        .ok()?;
    same("the other way", said.as_str(), "ended by ECONNRESET")
}

/// `python3 -m http.server 80` in a container called web.
fn web(host: &Host, options: &str) -> Outcome {
    let server = format!("{} -u -m http.server 80", host.python());
    host.container(options, "web", &server, "Serving HTTP").map(drop)
}

/// An echo server on port 7000 of a container called echo.
fn echo(host: &Host, options: &str) -> Outcome {
    host.container(options, "echo", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")
        .map(drop)
}

/// The automatic port of `echo` 7000/tcp on a host address.
fn automatic(host: &Host, address: &str) -> Outcome<String> {
    let bound = host.gangplank("port echo 7000/tcp")?.ok()?;
    let port = bound.lines().find_map(|line| line.strip_prefix(&format!("{address}:")));
    let Some(port) = port else {
        fail!("no {address} in {bound:?}")
    };
    holds(format!("{port} is 49153 or more"), port.parse::<u16>()? >= 49153)?;
    Ok(port.to_owned())
}

fn answers(host: &Host, address: &str, port: &str) -> Outcome {
    let said = host
        .user(&host.peer(&format!("tcp-ask {address} {port} hello")))?
        .ok()?;
    same(format!("{address} port {port}"), said.as_str(), "answer hello")
}

fn refuses(host: &Host, address: &str, port: &str) -> Outcome {
    until(PATIENCE, &format!("{address} port {port} refuses"), || {
        let said = host.user(&host.peer(&format!("connect {address} {port}")))?.ok()?;
        Ok(said.contains("ECONNREFUSED"))
    })
}
