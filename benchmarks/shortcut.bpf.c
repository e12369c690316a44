// shortcut: passes data between 127.0.0.1:PORT and its clients from socket to socket, bypassing TCP and IP.
// For floods in which the kernel's loopback is the limit and not a client. Each send() still arrives by itself: data
// of two calls is never joined. Built and attached by shortcut.py.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2

struct ends { __u32 local, remote; };  // ports; the address is always 127.0.0.1

struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, 65536);
  __type(key, struct ends);
  __type(value, __u64);
} sockets SEC(".maps");

SEC("sockops")
int established(struct bpf_sock_ops *s) {
  if (s->family != AF_INET || (s->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && s->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)) return 0;
  struct ends key = {s->local_port, bpf_ntohl(s->remote_port)};
  if (key.local == PORT || key.remote == PORT) bpf_sock_hash_update(s, &sockets, &key, BPF_ANY);
  return 0;
}

SEC("sk_msg")
int past_tcp(struct sk_msg_md *m) {
  struct ends peer = {bpf_ntohl(m->remote_port), m->local_port};
  bpf_msg_redirect_hash(m, &sockets, &peer, BPF_F_INGRESS);
  return SK_PASS;  // without a peer in the map, data takes the normal path
}

char _license[] SEC("license") = "GPL";
