# Completion of stomp_cat for bash 3.2 and later. Source this file, or run `make install`.
# shellcheck shell=bash

_stomp_cat_options='-s -d -H -m -f -n --count -t --timeout -u --login -p --passcode
    --passcode-file --host --connect-header --http-header --header-file --token-command --ca --cert
    --key --pin --insecure --proxy --versions --ack --heartbeat --ping --give-up --no-reconnect
    --reconnect --content-type --receipt --confirm --request --rate --json --raw -v --verbose
    --trace -h --help --version'

# Offers those of the given words that begin with the word at the cursor. Bash splits words at = and at
# colons, so that word may be a part of an argument.
_stomp_cat_words() {
    local IFS=$' \t\n'
    # shellcheck disable=SC2207 # no candidate contains a blank or a wildcard
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

# Offers the given values for the part after the last comma of a list. Values that the list already
# contains are left out.
_stomp_cat_list() {
    local before='' value candidates=''
    [[ $cur == *,* ]] && before=${cur%,*},
    for value in $1; do
        [[ ,$before == *,$value,* ]] || candidates+="$before$value "
    done
    _stomp_cat_words "$candidates"
}

_stomp_cat_files() {
    local file
    while IFS= read -r file; do
        COMPREPLY+=("$file")
    done < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
}

# Offers beginnings of values. No blank is added after them.
_stomp_cat_beginnings() {
    _stomp_cat_words "$1"
    compopt -o nospace 2>/dev/null
}

_stomp_cat() {
    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [[ $cur == = ]]; then
        cur=
    elif [[ $option == = ]] && ((COMP_CWORD >= 2)); then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $option in
        --ack) _stomp_cat_words 'auto client client-individual' ;;
        --versions) _stomp_cat_list '1.2 1.1 1.0' ;;
        -f | --ca | --cert | --key | --passcode-file | --header-file) _stomp_cat_files ;;
        -s | -d) _stomp_cat_beginnings '/topic/ /queue/ /app/ /user/queue/' ;;
        --content-type) _stomp_cat_words 'text/plain application/json application/octet-stream' ;;
        --give-up) _stomp_cat_words 'soon default never' ;;
        --ping) _stomp_cat_words '20000 0' ;;
        --heartbeat) _stomp_cat_words '10000,10000 0,0' ;;
        --proxy) _stomp_cat_beginnings 'http:// socks5:// environment' ;;
        -H | -m | -n | --count | -t | --timeout | -u | --login | -p | --passcode | --host | --connect-header | \
            --http-header | --token-command | --pin | --reconnect | --rate) ;;
        *) [[ $cur != -* ]] || _stomp_cat_words "$_stomp_cat_options" ;;
    esac
}

complete -F _stomp_cat stomp_cat
