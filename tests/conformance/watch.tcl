# The upstream test_helper.tcl, which starts itself anew as its own client, with three additions.
#
# Every change of a test's state is told on a line of its own, newlines written \n and backslashes \\:
#
#   @ (IN PROGRESS) name      @ (OK) name      @ (ERR) name in file\nmessage      @ (SPAWNED SERVER) pid:17
#
# An exception ends only the test it happens in or, outside of tests, the innermost start_server around it; upstream's
# --durable is meant so, but then kills the next server too.
#
# A server that ends at its start is given up at once, not after two minutes.
#
# Run it in the suite's root with the suite's own arguments.
fconfigure stdout -buffering line
trace add variable ::active_clients_task write {apply {{array client operation} {
    puts "@ [string map {\\ \\\\ \n \\n} $::active_clients_task($client)]"
}}}

set tests_running 0

# Runs code where it is called; any error is an assertion's.
proc as_assertion {code} {
    if {[catch {uplevel 1 $code} result options] == 1 && ![string match "assertion:*" $result]} {
        error "assertion:$result\n[dict get $options -errorinfo]"
    }
    return -options $options $result
}

proc contained_test {name code {okpattern undefined} {tags {}}} {
    incr ::tests_running
    catch {uplevel 1 [list upstream_test $name [list as_assertion $code] $okpattern $tags]} result options
    incr ::tests_running -1
    return -options $options $result
}

proc contained_start_server {options {code undefined}} {
    set tags $::tags
    set status [catch {uplevel 1 [list upstream_start_server $options $code]} result how]
    if {$status == 1 && !$::tests_running} {
        # upstream has ended the server
        set ::tags $tags
        send_data_packet $::test_server_fd err "[regsub ^assertion: $result {}]\n[dict get $how -errorinfo]"
        return
    }
    return -options $how $result
}

proc contained_wait_server_started {config_file stdout pid} {
    while 1 {
        set is_alive [expr {![catch {exec kill -0 $pid}]}]
        set log [exec cat $stdout]
        if {[string match "*PID: $pid*" $log] || [string match "*Failed listening on port*" $log]} {
            return [upstream_wait_server_started $config_file $stdout $pid]
        }
        if {!$is_alive} {
            error "the server ended at its start:\n$log[exec cat $config_file]"
        }
        after 20
    }
}

proc contain {proc} {
    rename $proc upstream_$proc
    rename contained_$proc $proc
}

trace add execution source leave {apply {{command args} {
    switch -glob [lindex $command 1] {
        */support/server.tcl {contain start_server; contain wait_server_started}
        */support/test.tcl {contain test}
    }
}}}

# not sourced: the suite starts what [info script] names
set helper [open tests/test_helper.tcl]
eval [read $helper][close $helper]
