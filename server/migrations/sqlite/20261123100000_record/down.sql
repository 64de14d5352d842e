DROP TABLE checkpoint;
DROP TABLE subtree;
