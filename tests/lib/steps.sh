# For tests/run-all and tests/run-sanitized, sourced at the root of the tree with their words:
#   step NAME COMMAND …   runs one step, when it is wanted (no words: all are); log: build/test-logs/
#   steps_end             prints the sum as last line; its status is theirs
# A step's last line "N passed, N failed" is added up; a step that prints none counts as one.
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
    # A step that says "0 failed" and still ends badly has failed.
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
