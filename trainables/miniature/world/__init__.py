"""The world of the miniature: toys, their scenes, images of both, and captions.

`colours` and `solids` are the material; `shapes` builds each class of toys from solids; `toys` and `scenes` draw
instances from seeds; `renderer` turns them into images, `captions` into words. Start with `toys.make_toy`,
`scenes.make_scene` and `renderer.render_images`.
"""
