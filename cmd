cat /proc/self/mountinfo; touch /tmp/poolfs-tree.y4pak89l/tree/x /tmp/poolfs-tree.y4pak89l/tree/sub/x /tmp/poolfs-tree.y4pak89l/tree/sub/deep/x
