# Generated, by `UPDATE_GOLDEN=1 cargo test --lib cli::completions`: change src/cli, not this file.
_dwdump() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="dwdump"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        dwdump)
            opts="-w -C -G -W -z -r -c -i -F -d -t -l -b -p -Z -v -n -U -q -s -e -V -o -h --write --max-total --sync --trigger --before --after --before-size --read --duration --summary --by --folded --why --interface --kernel-filter --all --source --stack --trunc --limit --bufsize --passive --force --sandbox --stats-interval --print --json --source-lines --vmlinux --modules --utc --nano --color --packet-buffered --format --link-type --comments --check --install-wireshark --uninstall-wireshark --system --group --extcap-dir --query --stats --exit --version --explain --origin --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --write)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                -w)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                -C)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -G)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -W)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --max-total)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -z)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --sync)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --trigger)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --before)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --after)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --before-size)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --read)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                -r)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                -c)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --duration)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --summary)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --by)
                    COMPREPLY=($(compgen -W "location reason interface flow module stack device netns running cgroup unit socket mark vlan direction" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --interface)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -i)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -F)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                --source)
                    COMPREPLY=($(compgen -W "auto netdm ebpf" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --stack)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --trunc)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -t)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --limit)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -l)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --bufsize)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -b)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -Z)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --sandbox)
                    COMPREPLY=($(compgen -W "auto strict off" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --stats-interval)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --vmlinux)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                --modules)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --format)
                    COMPREPLY=($(compgen -W "pcapng pcap netlink" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --link-type)
                    COMPREPLY=($(compgen -W "auto ethernet raw sll2" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --comments)
                    COMPREPLY=($(compgen -W "facts full" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --group)
                    COMPREPLY=("${cur}")
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --extcap-dir)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --explain)
                    COMPREPLY=($(compgen -W "ARP_PVLAN_DISABLE BPF_CGROUP_EGRESS BRIDGE_INGRESS_STP_STATE CAKE_FLOOD CANFD_RX_INVALID_FRAME CANXL_RX_INVALID_FRAME CAN_RX_INVALID_FRAME CPU_BACKLOG DEV_HDR DEV_READY DUALPI2_STEP_DROP DUP_FRAG FQ_BAND_LIMIT FQ_FLOW_LIMIT FQ_HORIZON_LIMIT FRAG_REASM_TIMEOUT FRAG_TOO_FAR FULL_RING HDR_TRUNC ICMP_CSUM INVALID_PROTO IPV6DISABLED IPV6_BAD_EXTHDR IPV6_NDISC_BAD_CODE IPV6_NDISC_BAD_OPTIONS IPV6_NDISC_FRAG IPV6_NDISC_HOP_LIMIT IPV6_NDISC_NS_OTHERHOST IPV6_TOO_MANY_EXTHDRS IPVLAN_MULTICAST_BACKLOG IP_CSUM IP_INADDRERRORS IP_INHDR IP_INNOROUTES IP_INVALID_DEST IP_INVALID_SOURCE IP_LOCALNET IP_LOCAL_SOURCE IP_NOPROTO IP_OUTNOROUTES IP_RPFILTER IP_TUNNEL_ECN LOCAL_MAC MACVLAN_BROADCAST_BACKLOG MAC_IEEE_MAC_CONTROL MAC_INVALID_SOURCE NEIGH_CREATEFAIL NEIGH_DEAD NEIGH_FAILED NEIGH_HH_FILLFAIL NEIGH_QUEUEFULL NETFILTER_DROP NOMEM NOT_SPECIFIED NO_SOCKET NO_TX_TARGET OTHERHOST OVS_DROP_ACTION_ERROR OVS_DROP_CONNTRACK OVS_DROP_DEFERRED_LIMIT OVS_DROP_EXPLICIT OVS_DROP_EXPLICIT_WITH_ERROR OVS_DROP_FRAG_INVALID_PROTO OVS_DROP_FRAG_L2_TOO_LONG OVS_DROP_IP_TTL OVS_DROP_LAST_ACTION OVS_DROP_METER OVS_DROP_RECURSION_LIMIT PACKET_SOCK_ERROR PFMEMALLOC PKT_TOO_BIG PKT_TOO_SMALL PROTO_MEM PSP_INPUT PSP_OUTPUT PTYPE_ABSENT QDISC_BURST_DROP QDISC_CONGESTED QDISC_DROP QDISC_DROP_BAND_LIMIT QDISC_DROP_CONGESTED QDISC_DROP_FLOOD_PROTECTION QDISC_DROP_FLOW_LIMIT QDISC_DROP_GENERIC QDISC_DROP_HORIZON_LIMIT QDISC_DROP_L4S_STEP_NON_ECN QDISC_DROP_MAXFLOWS QDISC_DROP_OVERLIMIT QDISC_OVERLIMIT QUEUE_PURGE RECURSION_LIMIT RX_DROP_MONITOR RX_DROP_M_BAD_BCN_KEYIDX RX_DROP_M_BAD_MGMT_KEYIDX RX_DROP_M_UNEXPECTED_4ADDR_FRAME RX_DROP_UNUSABLE RX_DROP_U_ACTION_UNKNOWN_SRC RX_DROP_U_AMSDU_WITHOUT_DATA RX_DROP_U_AP_RX_GROUPCAST RX_DROP_U_BAD_4ADDR RX_DROP_U_BAD_AMSDU RX_DROP_U_BAD_AMSDU_CIPHER RX_DROP_U_BAD_BCN_KEYIDX RX_DROP_U_BAD_CIPHER RX_DROP_U_BAD_KEY_COLOR RX_DROP_U_BAD_MGMT_KEYIDX RX_DROP_U_BAD_MMIE RX_DROP_U_BAR_OUTSIDE_SESSION RX_DROP_U_CTRL_FRAME RX_DROP_U_DECRYPT_FAIL RX_DROP_U_DEFRAG_MISMATCH RX_DROP_U_DEFRAG_OVERFLOW RX_DROP_U_DUP RX_DROP_U_EXPECTED_MGMT RX_DROP_U_EXPECT_DEFRAG_PROT RX_DROP_U_INVALID_8023 RX_DROP_U_KEY_TAINTED RX_DROP_U_MALFORMED_ACTION RX_DROP_U_MCAST_DEAUTH RX_DROP_U_MCAST_DISASSOC RX_DROP_U_MCAST_FRAGMENT RX_DROP_U_MESH_A3_MISMATCH RX_DROP_U_MESH_A4_MISMATCH RX_DROP_U_MESH_BAD_AE RX_DROP_U_MESH_DS_BITS RX_DROP_U_MESH_NOT_FORWARDING RX_DROP_U_MESH_NO_A4 RX_DROP_U_MESH_NO_TTL RX_DROP_U_MESH_RMC RX_DROP_U_MESH_TTL_EXPIRED RX_DROP_U_MESH_UNEXP_DATA RX_DROP_U_MESH_UNEXP_MGMT RX_DROP_U_MESH_WRONG_ACTION RX_DROP_U_MIC_FAIL RX_DROP_U_MMIC_FAIL RX_DROP_U_NONBCAST_BEACON RX_DROP_U_NONSEQ_PN RX_DROP_U_NOT_PORT_CONTROL RX_DROP_U_NO_ICV RX_DROP_U_NO_IV RX_DROP_U_NO_KEY_ID RX_DROP_U_NO_LINK RX_DROP_U_NULL_DATA RX_DROP_U_OOM RX_DROP_U_PORT_CONTROL RX_DROP_U_REJECTED_ACTION_RESPONSE RX_DROP_U_REPLAY RX_DROP_U_RUNT_ACTION RX_DROP_U_RUNT_BAR RX_DROP_U_RUNT_DATA RX_DROP_U_RUNT_MESH_DATA RX_DROP_U_RUNT_MGMT RX_DROP_U_SHORT_CCMP RX_DROP_U_SHORT_CCMP_MIC RX_DROP_U_SHORT_CMAC RX_DROP_U_SHORT_CMAC256 RX_DROP_U_SHORT_GCMP RX_DROP_U_SHORT_GCMP_MIC RX_DROP_U_SHORT_GMAC RX_DROP_U_SHORT_MMIC RX_DROP_U_SHORT_TKIP RX_DROP_U_SPURIOUS RX_DROP_U_SPURIOUS_NOTIF RX_DROP_U_TKIP_FAIL RX_DROP_U_UNEXPECTED_4ADDR RX_DROP_U_UNEXPECTED_4ADDR_FRAME RX_DROP_U_UNEXPECTED_EXT_FRAME RX_DROP_U_UNEXPECTED_STA_4ADDR RX_DROP_U_UNEXPECTED_VLAN_4ADDR RX_DROP_U_UNEXPECTED_VLAN_MCAST RX_DROP_U_UNHANDLED_DEAUTH RX_DROP_U_UNHANDLED_DISASSOC RX_DROP_U_UNHANDLED_MGMT RX_DROP_U_UNHANDLED_MGMT_STYPE RX_DROP_U_UNHANDLED_PREQ RX_DROP_U_UNKNOWN_ACTION_REJECTED RX_DROP_U_UNKNOWN_MCAST_ACTION RX_DROP_U_UNKNOWN_STA RX_DROP_U_UNPROTECTED RX_DROP_U_UNPROT_ACTION RX_DROP_U_UNPROT_BEACON RX_DROP_U_UNPROT_DUAL RX_DROP_U_UNPROT_MCAST_MGMT RX_DROP_U_UNPROT_ROBUST_ACTION RX_DROP_U_UNPROT_UCAST_MGMT RX_DROP_U_UNPROT_UNICAST_PUB_ACTION RX_DROP_U_WEP_DEC_FAIL SECURITY_HOOK SKB_BAD_GSO SKB_CSUM SKB_GSO_SEG SKB_UCOPY_FAULT SOCKET_BACKLOG SOCKET_CLOSE SOCKET_FILTER SOCKET_RCVBUFF TAP_FILTER TAP_TXFILTER TCP_ABORT_ON_DATA TCP_ACK_UNSENT_DATA TCP_AOFAILURE TCP_AOKEYNOTFOUND TCP_AONOTFOUND TCP_AOUNEXPECTED TCP_AUTH_HDR TCP_CLOSE TCP_CSUM TCP_FASTOPEN TCP_FLAGS TCP_INVALID_ACK_SEQUENCE TCP_INVALID_END_SEQUENCE TCP_INVALID_SEQUENCE TCP_INVALID_SYN TCP_LISTEN_OVERFLOW TCP_MD5FAILURE TCP_MD5NOTFOUND TCP_MD5UNEXPECTED TCP_MINTTL TCP_OFOMERGE TCP_OFO_DROP TCP_OFO_QUEUE_PRUNE TCP_OLD_ACK TCP_OLD_DATA TCP_OLD_SEQUENCE TCP_OVERWINDOW TCP_RESET TCP_RFC7323_PAWS TCP_RFC7323_PAWS_ACK TCP_RFC7323_TSECR TCP_RFC7323_TW_PAWS TCP_TOO_OLD_ACK TCP_ZEROWINDOW TC_CHAIN_NOTFOUND TC_COOKIE_ERROR TC_EGRESS TC_ERROR TC_INGRESS TC_RECLASSIFY_LOOP TUNNEL_TXINFO UDP_CSUM UNHANDLED_PROTO UNICAST_IN_L2_MULTICAST UNIX_DISCONNECT UNIX_SKIP_OOB VXLAN_ENTRY_EXISTS VXLAN_INVALID_HDR VXLAN_VNI_NOT_FOUND XDP XFRM_POLICY __br_forward __dev_kfree_skb_any __dev_queue_xmit __ip6_tnl_rcv __neigh_event_send __netif_receive_skb_core __sk_receive_skb __udp4_lib_mcast_deliver __udp4_lib_rcv __udp6_lib_mcast_deliver __udp6_lib_rcv arp_error_report arp_process arp_rcv bond_handle_frame br_dev_queue_push_xmit br_dev_xmit br_flood br_forward br_handle_frame br_handle_frame_finish br_pass_frame_up dev_kfree_skb_any_reason do_execute_actions do_xdp_generic drop_func dst_discard_out enqueue_to_backlog fq_codel_dequeue geneve_rx geneve_udp_encap_recv gre_rcv icmp_rcv icmpv6_rcv ieee80211_rx_handlers_result ieee80211_subif_start_xmit igmp6_event_query igmp6_event_report igmp_rcv inet_frag_rbtree_purge inet_sock_destruct internal_dev_recv ip6_finish_output2 ip6_forward ip6_frag_expire ip6_fragment ip6_mc_input ip6_mr_input ip6_pkt_drop ip6_protocol_deliver_rcu ip6_rcv_core ip6_tnl_start_xmit ip_defrag ip_do_fragment ip_error ip_expire ip_finish_output2 ip_forward ip_frag_queue ip_local_deliver_finish ip_mr_forward ip_mr_input ip_protocol_deliver_rcu ip_rcv_core ip_rcv_finish_core ip_tunnel_rcv ip_tunnel_xmit ipgre_xmit ipip_rcv ipip_tunnel_rcv ipmr_cache_unresolved iptunnel_xmit ipv6_frag_rcv ipvlan_multicast_enqueue ipvlan_process_multicast ipvlan_process_outbound kfree_skb_list_reason l2tp_eth_dev_recv l2tp_recv_common l2tp_recv_dequeue_skb llc_rcv macvlan_broadcast_enqueue macvlan_handle_frame mpls_forward napi_gro_complete ndisc_error_report neigh_blackhole neigh_connected_output neigh_flush_dev neigh_invalidate neigh_resolve_output net_tx_action netlink_broadcast_filtered netlink_unicast nf_hook_slow nf_reinject nfqnl_enqueue_packet nfqnl_reinject nft_do_chain ovs_dp_process_packet ovs_execute_actions ovs_vport_receive ovs_vport_send packet_rcv pfifo_fast_reset pktgen_xmit ppp_input ppp_receive_nonmp_frame ppp_start_xmit pppoe_rcv raw_rcv rawv6_rcv sch_handle_egress sch_handle_ingress sctp_rcv sit_tunnel_xmit sk_psock_backlog sk_stream_kill_queues skb_do_redirect skb_queue_purge skb_queue_purge_reason skb_release_data snap_rcv stp_pdu_rcv tap_get_user tap_handle_frame tcp_add_backlog tcp_data_queue tcp_data_queue_ofo tcp_drop_reason tcp_prune_ofo_queue tcp_rcv_established tcp_rcv_state_process tcp_v4_do_rcv tcp_v4_rcv tcp_v6_do_rcv tcp_v6_rcv tcp_validate_incoming tpacket_rcv tun_get_user tun_net_xmit tun_queue_purge tunnel4_rcv tunnel64_rcv tunnel6_rcv udp_queue_rcv_one_skb udpv6_queue_rcv_one_skb unix_dgram_sendmsg unix_release_sock unix_stream_sendmsg validate_xmit_skb veth_xmit vlan_do_receive vrf_tx_error vxlan_rcv vxlan_xmit vxlan_xmit_one wg_packet_send_staged_packets wg_packet_tx_worker wg_xmit xdst_queue_output xfrm4_ah_rcv xfrm4_esp_rcv xfrm4_rcv_encap xfrm_input xfrm_output xfrm_output_resume xfrm_policy_queue_process xfrmi_xmit noise" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                --origin)
                    COMPREPLY=($(compgen -W "sw hw" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                -o)
                    COMPREPLY=($(compgen -W "sw hw" -- "${cur}"))
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o nospace
                    fi
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

# After an option, clap's completions; otherwise the words of a filter.
_dwdump_words() {
    local cur="$2" prev="$3"
    # bash takes `=` for a word of its own.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $prev == = ]]; then
        prev="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    case "$prev" in
        -w | --write | -C | -G | -W | --max-total | -z | --sync | --trigger | --before | --after | --before-size | -r | --read | -c | --duration | --by | -i | --interface | -F | --source | -t | --trunc | -l | --limit | -b | --bufsize | -Z | --sandbox | --stats-interval | --vmlinux | --modules | --color | --format | --link-type | --comments | --group | --extcap-dir | --explain | -o | --origin)
            _dwdump "$1" "$cur" "$prev"
            return 0
            ;;
    esac
    # No file is a word of a filter.
    [[ ${BASH_VERSINFO[0]} -lt 4 ]] || compopt +o bashdefault +o default
    case "$prev" in
        reason)
            COMPREPLY=($(compgen -W "ARP_PVLAN_DISABLE BPF_CGROUP_EGRESS BRIDGE_INGRESS_STP_STATE CAKE_FLOOD CANFD_RX_INVALID_FRAME CANXL_RX_INVALID_FRAME CAN_RX_INVALID_FRAME CPU_BACKLOG DEV_HDR DEV_READY DUALPI2_STEP_DROP DUP_FRAG FQ_BAND_LIMIT FQ_FLOW_LIMIT FQ_HORIZON_LIMIT FRAG_REASM_TIMEOUT FRAG_TOO_FAR FULL_RING HDR_TRUNC ICMP_CSUM INVALID_PROTO IPV6DISABLED IPV6_BAD_EXTHDR IPV6_NDISC_BAD_CODE IPV6_NDISC_BAD_OPTIONS IPV6_NDISC_FRAG IPV6_NDISC_HOP_LIMIT IPV6_NDISC_NS_OTHERHOST IPV6_TOO_MANY_EXTHDRS IPVLAN_MULTICAST_BACKLOG IP_CSUM IP_INADDRERRORS IP_INHDR IP_INNOROUTES IP_INVALID_DEST IP_INVALID_SOURCE IP_LOCALNET IP_LOCAL_SOURCE IP_NOPROTO IP_OUTNOROUTES IP_RPFILTER IP_TUNNEL_ECN LOCAL_MAC MACVLAN_BROADCAST_BACKLOG MAC_IEEE_MAC_CONTROL MAC_INVALID_SOURCE NEIGH_CREATEFAIL NEIGH_DEAD NEIGH_FAILED NEIGH_HH_FILLFAIL NEIGH_QUEUEFULL NETFILTER_DROP NOMEM NOT_SPECIFIED NO_SOCKET NO_TX_TARGET OTHERHOST OVS_DROP_ACTION_ERROR OVS_DROP_CONNTRACK OVS_DROP_DEFERRED_LIMIT OVS_DROP_EXPLICIT OVS_DROP_EXPLICIT_WITH_ERROR OVS_DROP_FRAG_INVALID_PROTO OVS_DROP_FRAG_L2_TOO_LONG OVS_DROP_IP_TTL OVS_DROP_LAST_ACTION OVS_DROP_METER OVS_DROP_RECURSION_LIMIT PACKET_SOCK_ERROR PFMEMALLOC PKT_TOO_BIG PKT_TOO_SMALL PROTO_MEM PSP_INPUT PSP_OUTPUT PTYPE_ABSENT QDISC_BURST_DROP QDISC_CONGESTED QDISC_DROP QDISC_DROP_BAND_LIMIT QDISC_DROP_CONGESTED QDISC_DROP_FLOOD_PROTECTION QDISC_DROP_FLOW_LIMIT QDISC_DROP_GENERIC QDISC_DROP_HORIZON_LIMIT QDISC_DROP_L4S_STEP_NON_ECN QDISC_DROP_MAXFLOWS QDISC_DROP_OVERLIMIT QDISC_OVERLIMIT QUEUE_PURGE RECURSION_LIMIT RX_DROP_MONITOR RX_DROP_M_BAD_BCN_KEYIDX RX_DROP_M_BAD_MGMT_KEYIDX RX_DROP_M_UNEXPECTED_4ADDR_FRAME RX_DROP_UNUSABLE RX_DROP_U_ACTION_UNKNOWN_SRC RX_DROP_U_AMSDU_WITHOUT_DATA RX_DROP_U_AP_RX_GROUPCAST RX_DROP_U_BAD_4ADDR RX_DROP_U_BAD_AMSDU RX_DROP_U_BAD_AMSDU_CIPHER RX_DROP_U_BAD_BCN_KEYIDX RX_DROP_U_BAD_CIPHER RX_DROP_U_BAD_KEY_COLOR RX_DROP_U_BAD_MGMT_KEYIDX RX_DROP_U_BAD_MMIE RX_DROP_U_BAR_OUTSIDE_SESSION RX_DROP_U_CTRL_FRAME RX_DROP_U_DECRYPT_FAIL RX_DROP_U_DEFRAG_MISMATCH RX_DROP_U_DEFRAG_OVERFLOW RX_DROP_U_DUP RX_DROP_U_EXPECTED_MGMT RX_DROP_U_EXPECT_DEFRAG_PROT RX_DROP_U_INVALID_8023 RX_DROP_U_KEY_TAINTED RX_DROP_U_MALFORMED_ACTION RX_DROP_U_MCAST_DEAUTH RX_DROP_U_MCAST_DISASSOC RX_DROP_U_MCAST_FRAGMENT RX_DROP_U_MESH_A3_MISMATCH RX_DROP_U_MESH_A4_MISMATCH RX_DROP_U_MESH_BAD_AE RX_DROP_U_MESH_DS_BITS RX_DROP_U_MESH_NOT_FORWARDING RX_DROP_U_MESH_NO_A4 RX_DROP_U_MESH_NO_TTL RX_DROP_U_MESH_RMC RX_DROP_U_MESH_TTL_EXPIRED RX_DROP_U_MESH_UNEXP_DATA RX_DROP_U_MESH_UNEXP_MGMT RX_DROP_U_MESH_WRONG_ACTION RX_DROP_U_MIC_FAIL RX_DROP_U_MMIC_FAIL RX_DROP_U_NONBCAST_BEACON RX_DROP_U_NONSEQ_PN RX_DROP_U_NOT_PORT_CONTROL RX_DROP_U_NO_ICV RX_DROP_U_NO_IV RX_DROP_U_NO_KEY_ID RX_DROP_U_NO_LINK RX_DROP_U_NULL_DATA RX_DROP_U_OOM RX_DROP_U_PORT_CONTROL RX_DROP_U_REJECTED_ACTION_RESPONSE RX_DROP_U_REPLAY RX_DROP_U_RUNT_ACTION RX_DROP_U_RUNT_BAR RX_DROP_U_RUNT_DATA RX_DROP_U_RUNT_MESH_DATA RX_DROP_U_RUNT_MGMT RX_DROP_U_SHORT_CCMP RX_DROP_U_SHORT_CCMP_MIC RX_DROP_U_SHORT_CMAC RX_DROP_U_SHORT_CMAC256 RX_DROP_U_SHORT_GCMP RX_DROP_U_SHORT_GCMP_MIC RX_DROP_U_SHORT_GMAC RX_DROP_U_SHORT_MMIC RX_DROP_U_SHORT_TKIP RX_DROP_U_SPURIOUS RX_DROP_U_SPURIOUS_NOTIF RX_DROP_U_TKIP_FAIL RX_DROP_U_UNEXPECTED_4ADDR RX_DROP_U_UNEXPECTED_4ADDR_FRAME RX_DROP_U_UNEXPECTED_EXT_FRAME RX_DROP_U_UNEXPECTED_STA_4ADDR RX_DROP_U_UNEXPECTED_VLAN_4ADDR RX_DROP_U_UNEXPECTED_VLAN_MCAST RX_DROP_U_UNHANDLED_DEAUTH RX_DROP_U_UNHANDLED_DISASSOC RX_DROP_U_UNHANDLED_MGMT RX_DROP_U_UNHANDLED_MGMT_STYPE RX_DROP_U_UNHANDLED_PREQ RX_DROP_U_UNKNOWN_ACTION_REJECTED RX_DROP_U_UNKNOWN_MCAST_ACTION RX_DROP_U_UNKNOWN_STA RX_DROP_U_UNPROTECTED RX_DROP_U_UNPROT_ACTION RX_DROP_U_UNPROT_BEACON RX_DROP_U_UNPROT_DUAL RX_DROP_U_UNPROT_MCAST_MGMT RX_DROP_U_UNPROT_ROBUST_ACTION RX_DROP_U_UNPROT_UCAST_MGMT RX_DROP_U_UNPROT_UNICAST_PUB_ACTION RX_DROP_U_WEP_DEC_FAIL SECURITY_HOOK SKB_BAD_GSO SKB_CSUM SKB_GSO_SEG SKB_UCOPY_FAULT SOCKET_BACKLOG SOCKET_CLOSE SOCKET_FILTER SOCKET_RCVBUFF TAP_FILTER TAP_TXFILTER TCP_ABORT_ON_DATA TCP_ACK_UNSENT_DATA TCP_AOFAILURE TCP_AOKEYNOTFOUND TCP_AONOTFOUND TCP_AOUNEXPECTED TCP_AUTH_HDR TCP_CLOSE TCP_CSUM TCP_FASTOPEN TCP_FLAGS TCP_INVALID_ACK_SEQUENCE TCP_INVALID_END_SEQUENCE TCP_INVALID_SEQUENCE TCP_INVALID_SYN TCP_LISTEN_OVERFLOW TCP_MD5FAILURE TCP_MD5NOTFOUND TCP_MD5UNEXPECTED TCP_MINTTL TCP_OFOMERGE TCP_OFO_DROP TCP_OFO_QUEUE_PRUNE TCP_OLD_ACK TCP_OLD_DATA TCP_OLD_SEQUENCE TCP_OVERWINDOW TCP_RESET TCP_RFC7323_PAWS TCP_RFC7323_PAWS_ACK TCP_RFC7323_TSECR TCP_RFC7323_TW_PAWS TCP_TOO_OLD_ACK TCP_ZEROWINDOW TC_CHAIN_NOTFOUND TC_COOKIE_ERROR TC_EGRESS TC_ERROR TC_INGRESS TC_RECLASSIFY_LOOP TUNNEL_TXINFO UDP_CSUM UNHANDLED_PROTO UNICAST_IN_L2_MULTICAST UNIX_DISCONNECT UNIX_SKIP_OOB VXLAN_ENTRY_EXISTS VXLAN_INVALID_HDR VXLAN_VNI_NOT_FOUND XDP XFRM_POLICY" -- "${cur^^}"))
            return 0
            ;;
        location)
            COMPREPLY=($(compgen -W "__br_forward __dev_kfree_skb_any __dev_queue_xmit __ip6_tnl_rcv __neigh_event_send __netif_receive_skb_core __sk_receive_skb __udp4_lib_mcast_deliver __udp4_lib_rcv __udp6_lib_mcast_deliver __udp6_lib_rcv arp_error_report arp_process arp_rcv bond_handle_frame br_dev_queue_push_xmit br_dev_xmit br_flood br_forward br_handle_frame br_handle_frame_finish br_pass_frame_up dev_kfree_skb_any_reason do_execute_actions do_xdp_generic drop_func dst_discard_out enqueue_to_backlog fq_codel_dequeue geneve_rx geneve_udp_encap_recv gre_rcv icmp_rcv icmpv6_rcv ieee80211_rx_handlers_result ieee80211_subif_start_xmit igmp6_event_query igmp6_event_report igmp_rcv inet_frag_rbtree_purge inet_sock_destruct internal_dev_recv ip6_finish_output2 ip6_forward ip6_frag_expire ip6_fragment ip6_mc_input ip6_mr_input ip6_pkt_drop ip6_protocol_deliver_rcu ip6_rcv_core ip6_tnl_start_xmit ip_defrag ip_do_fragment ip_error ip_expire ip_finish_output2 ip_forward ip_frag_queue ip_local_deliver_finish ip_mr_forward ip_mr_input ip_protocol_deliver_rcu ip_rcv_core ip_rcv_finish_core ip_tunnel_rcv ip_tunnel_xmit ipgre_xmit ipip_rcv ipip_tunnel_rcv ipmr_cache_unresolved iptunnel_xmit ipv6_frag_rcv ipvlan_multicast_enqueue ipvlan_process_multicast ipvlan_process_outbound kfree_skb_list_reason l2tp_eth_dev_recv l2tp_recv_common l2tp_recv_dequeue_skb llc_rcv macvlan_broadcast_enqueue macvlan_handle_frame mpls_forward napi_gro_complete ndisc_error_report neigh_blackhole neigh_connected_output neigh_flush_dev neigh_invalidate neigh_resolve_output net_tx_action netlink_broadcast_filtered netlink_unicast nf_hook_slow nf_reinject nfqnl_enqueue_packet nfqnl_reinject nft_do_chain ovs_dp_process_packet ovs_execute_actions ovs_vport_receive ovs_vport_send packet_rcv pfifo_fast_reset pktgen_xmit ppp_input ppp_receive_nonmp_frame ppp_start_xmit pppoe_rcv raw_rcv rawv6_rcv sch_handle_egress sch_handle_ingress sctp_rcv sit_tunnel_xmit sk_psock_backlog sk_stream_kill_queues skb_do_redirect skb_queue_purge skb_queue_purge_reason skb_release_data snap_rcv stp_pdu_rcv tap_get_user tap_handle_frame tcp_add_backlog tcp_data_queue tcp_data_queue_ofo tcp_drop_reason tcp_prune_ofo_queue tcp_rcv_established tcp_rcv_state_process tcp_v4_do_rcv tcp_v4_rcv tcp_v6_do_rcv tcp_v6_rcv tcp_validate_incoming tpacket_rcv tun_get_user tun_net_xmit tun_queue_purge tunnel4_rcv tunnel64_rcv tunnel6_rcv udp_queue_rcv_one_skb udpv6_queue_rcv_one_skb unix_dgram_sendmsg unix_release_sock unix_stream_sendmsg validate_xmit_skb veth_xmit vlan_do_receive vrf_tx_error vxlan_rcv vxlan_xmit vxlan_xmit_one wg_packet_send_staged_packets wg_packet_tx_worker wg_xmit xdst_queue_output xfrm4_ah_rcv xfrm4_esp_rcv xfrm4_rcv_encap xfrm_input xfrm_output xfrm_output_resume xfrm_policy_queue_process xfrmi_xmit" -- "$cur"))
            return 0
            ;;
        origin)
            COMPREPLY=($(compgen -W "sw hw" -- "$cur"))
            return 0
            ;;
        iface)
            COMPREPLY=($(compgen -W "$(command ls /sys/class/net 2>/dev/null)" -- "$cur"))
            return 0
            ;;
        ifname)
            COMPREPLY=($(compgen -W "$(command ls /sys/class/net 2>/dev/null)" -- "$cur"))
            return 0
            ;;
        on)
            COMPREPLY=($(compgen -W "$(command ls /sys/class/net 2>/dev/null)" -- "$cur"))
            return 0
            ;;
    esac
    if [[ $cur == -* ]]; then
        _dwdump "$1" "$cur" "$prev"
    else
        COMPREPLY=($(compgen -W "addr ah and arp broadcast cgroup cgroup_id daddr device direction dport dst esp ether flow gre greater host icmp icmp6 iface ifindex ifname igmp inbound inner ip ip6 len less llc location mark mask module mpls multicast net netns netns_name noise not on or origin ospf outbound pc pim port portrange pppoed pppoes proto protochain protocol rarp reason running running_pid saddr sctp socket sport src stack tcp trap trap_group udp unit vlan" -- "$cur"))
    fi
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _dwdump_words -o nosort -o bashdefault -o default dwdump
else
    complete -F _dwdump_words -o bashdefault -o default dwdump
fi
