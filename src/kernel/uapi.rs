//! Numbers of the kernel's user interface, with the types that messages give them (`linux/netlink.h`,
//! `linux/rtnetlink.h`, `linux/if_link.h`, `linux/veth.h`, `linux/if_addr.h`, `linux/fib_rules.h`, `linux/ip.h`). Only those
//! that this room uses; never any logic.

// Message headers.
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_REPLACE: u16 = 0x100;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_CAPPED: u16 = 0x100;
pub(super) const NLM_F_ACK_TLVS: u16 = 0x200;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;

// Messages.
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_SETLINK: u16 = 19;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWRULE: u16 = 32;
pub(super) const RTM_DELRULE: u16 = 33;
pub(super) const RTM_GETRULE: u16 = 34;

// Multicast groups.
pub(super) const RTNLGRP_LINK: u32 = 1;
pub(super) const RTNLGRP_IPV4_IFADDR: u32 = 5;
pub(super) const RTNLGRP_IPV4_ROUTE: u32 = 7;
pub(super) const RTNLGRP_IPV4_RULE: u32 = 8;
pub(super) const RTNLGRP_IPV6_IFADDR: u32 = 9;
pub(super) const RTNLGRP_IPV6_ROUTE: u32 = 11;
pub(super) const RTNLGRP_IPV6_RULE: u32 = 19;

// Address families.
pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

// Links.
pub(super) const ARPHRD_ETHER: u16 = 1;
pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_LOWER_UP: u32 = 0x1_0000;
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_NET_NS_PID: u16 = 19;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_EXT_MASK: u16 = 29;
pub(super) const IFLA_PHYS_PORT_NAME: u16 = 38;
pub(super) const IFLA_PARENT_DEV_NAME: u16 = 56;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const VETH_INFO_PEER: u16 = 1;
pub(super) const IFLA_INET_CONF: u16 = 1;
pub(super) const RTEXT_FILTER_SKIP_STATS: u32 = 0x8;

// Per-interface IPv4 settings; a dump's array starts with number 1.
pub(super) const IPV4_DEVCONF_RP_FILTER: u16 = 8;
pub(super) const IPV4_DEVCONF_ARP_ANNOUNCE: u16 = 18;
pub(super) const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;
pub(super) const IPV4_DEVCONF_PROMOTE_SECONDARIES: u16 = 20;

// Addresses.
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_BROADCAST: u16 = 4;
pub(super) const IFA_FLAGS: u16 = 8;
pub(super) const IFA_PROTO: u16 = 11;
pub(super) const IFA_F_DADFAILED: u32 = 0x08;
pub(super) const IFA_F_NOPREFIXROUTE: u32 = 0x200;

// Routes.
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
pub(super) const RTN_UNICAST: u8 = 1;
pub(super) const RTPROT_KERNEL: u8 = 2;
pub(super) const RTNH_F_ONLINK: u32 = 0x4;
pub(super) const RT_SCOPE_UNIVERSE: u8 = 0;
pub(super) const RT_SCOPE_LINK: u8 = 253;
pub(super) const RT_SCOPE_NOWHERE: u8 = 255;
pub(super) const RT_TABLE_UNSPEC: u8 = 0;
pub(super) const RT_TABLE_LOCAL: u32 = 255;

// Rules.
pub(super) const FRA_SRC: u16 = 2;
pub(super) const FRA_PRIORITY: u16 = 6;
pub(super) const FRA_SUPPRESS_IFGROUP: u16 = 13;
pub(super) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(super) const FRA_TABLE: u16 = 15;
pub(super) const FRA_PAD: u16 = 18;
pub(super) const FRA_PROTOCOL: u16 = 21;
pub(super) const FR_ACT_TO_TBL: u8 = 1;
pub(super) const FIB_RULE_INVERT: u32 = 0x2;
