# The upstream test_helper.tcl, with every change of a test's state told on a line of its own:
#
#   @ (IN PROGRESS) name      @ (OK) name      @ (ERR) name in file\nmessage      @ (SPAWNED SERVER) pid:17
#
# Newlines are written \n and backslashes \\. Run it in the suite's root with the suite's own arguments.
fconfigure stdout -buffering line
trace add variable ::active_clients_task write {apply {{array client operation} {
    puts "@ [string map {\\ \\\\ \n \\n} $::active_clients_task($client)]"
}}}
source tests/test_helper.tcl
