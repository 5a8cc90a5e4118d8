# For tests/run-all and tests/run-sanitized, which source this at the root of the tree, with their own
# arguments:
#   step NAME COMMAND …   runs one step if its name is among the arguments, or if there are none; its
#                         output goes to build/test-logs/NAME.log
#   steps_end             prints the sum as the last line and sets the exit status
# Each step prints "N passed, N failed" as its last line. A step that does not counts as one test.
logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0
wanted=" $* "

step() {
    local name=$1 began=$SECONDS line status
    shift
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
    "$@" >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/$name.log" | tail -1)
    if [ -z "$line" ]; then
        if [ $status -eq 0 ]; then line="1 passed, 0 failed"; else line="0 passed, 1 failed"; fi
    fi
    read -r p _ f _ <<<"${line//,/}"
    # A step with a bad exit status has failed, whatever it prints.
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    passed=$((passed + p)) failed=$((failed + f))
    printf '%-18s %5d passed %3d failed  %4d s\n' "$name" "$p" "$f" $((SECONDS - began))
    if [ "$f" -ne 0 ]; then
        echo "---- $logs/$name.log"
        grep -vE '^ok ' "$logs/$name.log" | tail -80
        echo "----"
    fi
}

steps_end() {
    echo
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
