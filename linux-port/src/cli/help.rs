//! The help texts, the place where options and exit statuses are written down for users.

pub(super) const MAIN: &str = "\
Usage: steadfast COMMAND [OPTION]...

A VRRP agent (versions 2 and 3, IPv4 and IPv6) that reads keepalived.conf.

Commands:
  run           Be the agent, in the foreground
  check         Say what is wrong with a configuration file
  status        Show the state of a running agent
  counters      Show what a running agent has counted
  explain       Say why a Virtual Router is in its state, and what would change that
  reload        Have a running agent read its configuration again
  drain         Hand over, and stay out until `resume`: for maintenance
  resume        Take part again
  server        Drain, enable or weigh a real server of a running agent
  real-server   Be a real server of LVS-DR: hold virtual addresses in silence
  keywords      List the keywords of keepalived.conf and what becomes of each
  keepalived    Take keepalived's command line, as a link by that name does
  demo          Watch two agents elect, fail over and hand back, on a LAN of their own

Options:
  -h, --help      Print help; after a command, that command's
  -V, --version   Print the version

Exit status: 0 if all is well, 64 if the command line cannot be understood, and what
each command's help says.
";

pub(super) const RUN: &str = "\
Usage: steadfast run [OPTION]...

Runs the agent in the foreground, as root (or with CAP_NET_ADMIN and CAP_NET_RAW).
Log lines go to stderr. SIGHUP reads the configuration again and swaps it in if it is
valid; SIGTERM and SIGINT hand over to the other routers and stop. SIGUSR1, SIGUSR2 and
signal 36 write the state where keepalived does, in its format but for the first.
`steadfast keepalived OPTION...`, or a link to this program by the name of keepalived,
takes keepalived's command line. Whoever listens at NOTIFY_SOCKET (systemd, for a unit of
Type=notify) is told how the agent is, and with WATCHDOG_USEC that its loop lives.

Options:
  -c, --config FILE    The configuration file; default: /etc/steadfast/steadfast.conf,
                       and if there is none, /etc/keepalived/keepalived.conf
      --config-id ID   Lines of the file that begin with @ID are read, those with
                       @^ID are not; default: the host name up to its first dot
      --control PATH   The control socket; default: /run/steadfast/control.sock
      --metrics WHERE  Serve metrics over HTTP as /metrics at ADDRESS:PORT or, for who
                       may enter its directory, at unix:PATH: OpenMetrics, or the older
                       format of Prometheus for who does not ask for that
      --log-level L    error, warn, info (the default), debug or trace
  -h, --help           Print this help

Exit status: 0 stopped as asked, 1 could not start or had to give up, 2 the
configuration has nothing that can be run.
";

pub(super) const CHECK: &str = "\
Usage: steadfast check [FILE] [OPTION]...

Reads a configuration file and prints what is to be said about it, a line each:
file:line:column: severity: message. Needs no privileges and changes nothing.
With --live it also looks at this machine and its LANs for what makes LVS fail with
that file, and says what to do: missing modules, settings, real servers that answer ARP
for a virtual address or do not take packets for it, and the like. That asks by ARP and
by TCP on the LAN, takes some seconds, and needs root.

Options:
  -c, --config FILE   The configuration file; default: as for `steadfast run`
      --config-id ID  As for `steadfast run`
      --live          Look at the running machine too
      --strict        Count warnings as errors
      --json          Print the findings as one JSON document
  -h, --help          Print this help

Exit status: 0 clean, 1 warnings, 2 errors, or the file cannot be read.
";

pub(super) const STATUS: &str = "\
Usage: steadfast status [OPTION]...

Shows the Virtual Routers, interfaces and counters of the agent that runs here, and
its virtual servers with the columns of `ipvsadm -Ln`, what the checks say of their
real servers, and what `steadfast server` has changed.

Options:
      --control PATH   Its control socket; default: /run/steadfast/control.sock
      --json           Print one JSON document, versioned by its field \"schema\"
  -h, --help           Print this help

Exit status: 0, or 1 if no agent answers.
";

pub(super) const COUNTERS: &str = "\
Usage: steadfast counters [ROUTER] [OPTION]...

Shows all counters of the agent that runs here, those that stand at 0 too, or only those
of one Virtual Router. The names are those of RFC 8347 where it has one.

Options:
      --control PATH   Its control socket; default: /run/steadfast/control.sock
  -h, --help           Print this help

Exit status: 0, or 1 if no agent answers or it has no such Virtual Router.
";

pub(super) const EXPLAIN: &str = "\
Usage: steadfast explain ROUTER [OPTION]...

Says why a Virtual Router (by its vrrp_instance name) is in its state, how its priority
comes about and which tracker would change what, whom it has heard, when it would take
over or to whom it yields, and what its timers are made of.

Options:
      --control PATH   The agent's control socket; default:
                       /run/steadfast/control.sock
  -h, --help           Print this help

Exit status: 0, or 1 if no agent answers or it has no such Virtual Router.
";

pub(super) const RELOAD: &str = "\
Usage: steadfast reload [OPTION]...

Has the running agent read its configuration again, and prints what is to be said
about it. A configuration that is not valid changes nothing.

Options:
      --control PATH   Its control socket; default: /run/steadfast/control.sock
  -h, --help           Print this help

Exit status: 0 it is in force, 1 no agent answers, 2 it is not valid and the old one
stays in force.
";

pub(super) const DRAIN: &str = "\
Usage: steadfast drain ROUTER [OPTION]...
       steadfast drain --all [OPTION]...

Takes a Virtual Router (by its vrrp_instance name) out of service: as Active it resigns
and forwards until its successor has announced itself, at most an interval or 1 s, so
that nothing is lost; then it stays out until `steadfast resume`, whatever happens to
its peers. With it goes its whole sync group. That outlives a reload and a restart of
the agent, though not of the machine: it is noted beside the control socket, under
/run. `steadfast status` shows it, and scripts are told FAULT once the addresses are
off.

Options:
      --all            All Virtual Routers, also those that a reload adds before the
                       first resume
      --control PATH   The agent's control socket; default:
                       /run/steadfast/control.sock
  -h, --help           Print this help

Exit status: 0, 1 no agent answers or it has no such Virtual Router, 2 it is drained,
but that could not be noted: it ends with the agent.
";

pub(super) const RESUME: &str = "\
Usage: steadfast resume ROUTER [OPTION]...
       steadfast resume --all [OPTION]...

Takes back `steadfast drain`: the Virtual Router, with its sync group, listens as
Backup, and takes over again if it may (not with nopreempt).

Options:
      --all            All Virtual Routers
      --control PATH   The agent's control socket; default:
                       /run/steadfast/control.sock
  -h, --help           Print this help

Exit status: 0, 1 no agent answers or it has no such Virtual Router, 2 it takes part
again, but that could not be noted: a new agent will keep it out.
";

pub(super) const SERVER: &str = "\
Usage: steadfast server drain SERVICE SERVER [--wait [--timeout S]]
       steadfast server enable SERVICE SERVER
       steadfast server weight SERVICE SERVER N

Changes the weight of a real server of a running agent:
  drain    No new connections; those that are there go on, and so do the checks
  weight   This weight, whatever the file and the checks say
  enable   Takes that back: the weight is the file's and the checks' again
A change is kept until it is taken back, also when the configuration is read again; it
is lost when the agent starts anew. `steadfast status` shows it.

SERVICE is a virtual server as it is written in the file (\"192.0.2.1 80\",
\"fwmark 3\", \"group WEB\") or as status shows it (192.0.2.1:80,
\"tcp 192.0.2.1:80\"); all services of a group change together. SERVER is 10.0.0.1:80,
or the address alone where no other has it.

Options:
      --wait           After drain: return when the last open connection is gone. Of
                       UDP and of marks the kernel cannot tell: there it is when they
                       have expired (ipvsadm's InActConn)
      --timeout S      But after S seconds at the latest
      --control PATH   The agent's control socket; default:
                       /run/steadfast/control.sock
  -h, --help           Print this help

Exit status: 0, 1 no agent answers or it refuses, 2 there were connections left when
the time was over; the server is still drained.
";

pub(super) const REAL_SERVER: &str = "\
Usage: steadfast real-server --vip ADDRESS [--vip ADDRESS]... [OPTION]...
       steadfast real-server --undo [OPTION]...

Lets this machine take packets for virtual addresses that LVS-DR sends to it, without
telling the LAN that it has them: puts each address on lo with /32 or /128 and a host
route, and sets net.ipv4.conf.{all,lo}.arp_ignore to 1 and arp_announce to 2. Runs in
the foreground until SIGTERM or SIGINT, puts an address back that somebody else
removes, and takes everything back at its end. What a run that was killed has left
stays in force; the next one takes it over, or --undo takes it back. A block
real_server_role { virtual_ipaddress { ADDRESS ... } } in the configuration file has
`steadfast run` do the same.

Options:
      --vip ADDRESS      A virtual address, IPv4 or IPv6; may be given again
      --interface NAME   Where the addresses are put; default: lo
      --state DIR        Where it is noted what has been changed; default:
                         /run/steadfast
      --undo             Take back what an earlier run has left, and end
  -h, --help             Print this help

Exit status: 0 stopped as asked, 1 it could not do its work.
";

pub(super) const KEYWORDS: &str = "\
Usage: steadfast keywords [--markdown]

Prints every keyword of keepalived.conf, block by block: whether it is supported,
accepted without need and why, or not supported.

Options:
      --markdown   As a table in Markdown, which is the only form
  -h, --help       Print this help
";

pub(super) const DEMO: &str = "\
Usage: steadfast demo

Builds a LAN of two routers and a client in private network namespaces, runs two real
agents on it, cuts the Active off, lets it return, stops it gracefully, and probes the
virtual address every millisecond meanwhile. Ends in about 20 seconds with a timeline
and a table of the gaps, and leaves nothing behind. Runs as root, or without where user
namespaces are allowed.

Exit status: 0, 1 if a router was in a wrong state, or 2 if the demo cannot run here.
";
